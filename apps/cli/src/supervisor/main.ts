/**
 * The parent of a program that `antipode run` has started. It has started nothing else and adopts orphans, so that
 * everything below it belongs to the program, whatever session or process group that chose. It ends all of it before it
 * ends itself: by order, when the program has ended, and when `antipode run` is gone, even by SIGKILL.
 *
 * It stays in the process group of `antipode run`. A terminal therefore treats them as one job.
 *
 * Arguments: the grace time in milliseconds, and the command. It loads little, since it lives as long as the program.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { adoptOrphans, reapChild } from '@antipode/cryptoki/process-adoption';
import type { Order, Report } from './messages.ts';
import { adoptedBy, descendantsOf, endDescendants, processStat } from './process-tree.ts';
import { TerminalSignals } from './terminal-signals.ts';

const [grace = '', program = '', ...args] = process.argv.slice(2);
const clock = {
  monotonicMs: () => performance.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)),
};
const signals = new TerminalSignals({ clock });

const report = (said: Report): void => void (process.connected && process.send?.(said));

adoptOrphans();
// The kernel ends the program if this process is killed. Everything that the program has started is then adopted by
// `antipode run`, which ends it.
const child = spawn('setpriv', ['--pdeathsig', 'SIGTERM', '--', program, ...args], { stdio: [0, 1, 2] });

let ending: Promise<void> | undefined;
/** Once: the grace time counts from the first reason. */
const end = (): Promise<void> =>
  (ending ??= endDescendants(process.pid, {
    clock,
    graceMs: Number(grace),
    onRefused: (pid) => report({ kind: 'refused', pid }),
  }));

child.once('error', (cause) => {
  report({ kind: 'not-started', reason: cause.message });
  process.disconnect?.();
});
child.once('exit', async (code, signal) => {
  const status = code ?? 128 + constants.signals[signal!];
  report({ kind: 'ended', status, left: descendantsOf(process.pid).filter(({ isOver }) => !isOver).length });
  await end();
  process.exit(status);
});
process.on('SIGCHLD', () => {
  for (const pid of adoptedBy(process.pid, { except: child.pid })) reapChild(pid);
});
process.on('disconnect', () => void end());
process.on('message', async (order: Order) => {
  if (order.kind === 'end') return end();
  if (order.kind === 'look') return report({ kind: 'runs' });
  const { signal } = order;
  // A terminal tells the whole process group. The program has had this signal already, unless it left the group.
  const isTold = async (): Promise<boolean> =>
    processStat(child.pid ?? 0)?.processGroup === processStat(process.pid)?.processGroup &&
    (await signals.wasSeen(signal));
  if (!(await isTold())) child.kill(signal);
});
