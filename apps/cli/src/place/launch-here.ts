/** Makes this process the one that runs a program: it receives the signals, and adopts orphans. */
import { printableLines, systemClock } from '@antipode/runtime';
import { PASSED_ON } from '../supervisor/passed-on.ts';
import { Launcher, type LauncherOptions } from './launcher.ts';

/** @returns the exit status of the program @throws what `Launcher.run` throws */
export async function launchHere(
  options: Omit<LauncherOptions, 'clock' | 'stop' | 'isAlone' | 'note'>,
): Promise<number> {
  const { adoptOrphans } = await import('@antipode/cryptoki/process-adoption');
  const stop = new AbortController();
  const launcher = new Launcher({
    ...options,
    clock: systemClock,
    stop: stop.signal,
    isAlone: adoptOrphans(),
    note: (line) => process.stderr.write(`antipode: ${printableLines(line)}\n`),
  });
  const listeners = PASSED_ON.map((signal) => [signal, () => launcher.receive(signal, stop)] as const);
  for (const [signal, listener] of listeners) process.on(signal, listener);
  try {
    return await launcher.run();
  } finally {
    for (const [signal, listener] of listeners) process.off(signal, listener);
  }
}
