/** One life of the standby process: started for one order, killed or heard to its end. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';
import { isTooLate, statesOf, untilDead } from './process-group.ts';
import type { FromStandby, Order } from './standby.ts';

export type Life =
  | { readonly ended: 'killed' }
  | (Extract<FromStandby, { kind: 'acknowledged' }> & {
      readonly ended: 'acknowledged';
      readonly workerKilled: boolean;
      readonly ms: number;
    })
  | { readonly ended: 'failed'; readonly why: string };

const STANDBY = fileURLToPath(new URL('./standby.ts', import.meta.url));
/** A life takes a second. One that hangs is a finding, too. */
const LIFE_MS_MAX = 60_000;
const DEATH_MS_MAX = 5_000;

export async function live(
  order: Order,
  { compileCache, onWorkerKilled = async () => {} }: { compileCache: string; onWorkerKilled?: () => Promise<void> },
): Promise<Life> {
  const child = fork(STANDBY, [JSON.stringify(order)], {
    detached: true,
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', NODE_COMPILE_CACHE: compileCache },
  });
  const killGroup = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  };
  process.once('exit', killGroup);
  const done = new AbortController();
  try {
    return await hear(child, { order, killGroup, onWorkerKilled, done: done.signal });
  } finally {
    done.abort();
    process.off('exit', killGroup);
  }
}

async function hear(
  child: ChildProcess,
  {
    order,
    killGroup,
    onWorkerKilled,
    done,
  }: { order: Order; killGroup: () => void; onWorkerKilled: () => Promise<void>; done: AbortSignal },
): Promise<Life> {
  let hasBegun = false;
  let startMs = 0;
  let workerKilled = false;
  let last: Exclude<FromStandby, { kind: 'applying' | 'worker-killed' }> | undefined;
  let hung: string | undefined;
  let printed = '';
  child.stderr!.on('data', (data: Buffer) => {
    printed = `${printed}${data.toString()}`.slice(-4_000);
  });
  const after = (ms: number, work: () => void): void =>
    void systemClock.sleep(ms, done).then(() => {
      if (!done.aborted) work();
    });
  void isTooLate(LIFE_MS_MAX, done).then((isHung) => {
    if (!isHung) return;
    hung = statesOf(child.pid!);
    killGroup();
  });
  let ms = 0;
  let judged = Promise.resolve();
  child.on('message', (message: FromStandby) => {
    switch (message.kind) {
      case 'applying':
        hasBegun = true;
        startMs = systemClock.monotonicMs();
        if (order.kill.at === 'moment') after(order.kill.afterMs, killGroup);
        return;
      case 'worker-killed':
        workerKilled = true;
        judged = onWorkerKilled().finally(() => child.send('go on', () => {}));
        // Thrown below, when the process has ended.
        judged.catch(() => {});
        return;
      default:
        last = message;
        ms = systemClock.monotonicMs() - startMs;
    }
  });
  const signal = await new Promise<string | undefined>((resolve) =>
    child.once('close', (_code, how) => resolve(how ?? undefined)),
  );
  await judged;
  await untilDead(child.pid!, DEATH_MS_MAX);
  if (hung !== undefined) return { ended: 'failed', why: `it hangs: ${hung}\n${printed}` };
  if (last?.kind === 'failed') return { ended: 'failed', why: last.why };
  // Killed after it had told that it was done: nothing was cut short.
  if (last?.kind === 'acknowledged') return { ...last, ended: 'acknowledged', workerKilled, ms };
  // The first steps are taken while the partition is being opened.
  if (signal === 'SIGKILL' && (hasBegun || order.kill.at === 'step' || order.kill.at === 'point'))
    return { ended: 'killed' };
  return { ended: 'failed', why: `it ended (${signal ?? 'by itself'}) before it was done\n${printed}` };
}
