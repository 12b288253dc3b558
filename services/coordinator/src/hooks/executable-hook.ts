/**
 * A hook that is an executable. It gets the message as JSON on its standard input, and the fields as environment
 * variables. Exit status 0 accepts. 1 refuses, and the first line of the output says why. With any other status the hook
 * has not answered. The processes that it leaves in its process group end with it. One that has left the group lives on,
 * and nothing waits for it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { type Clock, printable, within } from '@antipode/runtime';
import { type Answer, bodyOf, type Caller, type Hook, type HookMessage, hookFailed } from './hook.ts';

const REASON_BYTES_MAX = 1_024;
/** A program that has ended has said all. A process that it has left behind can hold its output open for ever. */
const OUTPUT_MS_MAX = 500;
const ACCEPTED = 0;
const REFUSED = 1;

export interface ExecutableHookOptions {
  readonly name: string;
  /** The program by its path, and its arguments. No shell reads them. */
  readonly command: readonly [string, ...string[]];
  readonly timeoutMs: number;
  readonly caller?: Caller;
}

export function executableHook(
  { name, command, timeoutMs, caller = 'hook' }: ExecutableHookOptions,
  { clock }: { clock: Clock },
): Hook {
  return {
    name,
    call: async (message) => {
      try {
        return await within({ clock, timeoutMs, what: `${caller} ${name}` }, (signal) =>
          run({ name, caller }, command, message, { clock, signal }),
        );
      } catch (thrown) {
        throw thrown instanceof Error && 'code' in thrown && thrown.code === 'TIMED_OUT'
          ? hookFailed(name, `it took longer than ${timeoutMs} ms and was ended`, caller)
          : thrown;
      }
    },
  };
}

function run(
  { name, caller }: { name: string; caller: Caller },
  [program, ...args]: readonly [string, ...string[]],
  message: HookMessage,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(hookFailed(name, reason, caller));
    const doesNotStart = ({ code, message: why }: NodeJS.ErrnoException): void =>
      fail(`${program} does not start (${code ?? why})`);
    let child: ChildProcessWithoutNullStreams;
    try {
      // A group of its own: what the program has started ends with it.
      child = spawn(program, args, {
        detached: true,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { PATH: process.env['PATH'], ...environmentOf(message) },
      });
    } catch (thrown) {
      // Node throws some reasons: the file is being written (ETXTBSY), or a site has sent a text that no environment takes.
      return doesNotStart(thrown as NodeJS.ErrnoException);
    }
    child.on('error', doesNotStart);
    // Without file descriptors there are no pipes either, and the error follows.
    if ((child.stdin as typeof child.stdin | undefined) === undefined) return;
    const said: Buffer[] = [];
    let bytes = 0;
    const listen = (part: Buffer): void => {
      if (bytes < REASON_BYTES_MAX) said.push(part.subarray(0, REASON_BYTES_MAX - bytes));
      bytes += part.length;
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    // A program that does not read its message closes the pipe.
    child.stdin.on('error', () => {});
    child.stdin.end(bodyOf(message));
    const closed = new AbortController();
    child.on('exit', () => {
      // Otherwise a process in the background would hold the output open.
      endGroup(child.pid);
      void clock.sleep(OUTPUT_MS_MAX, closed.signal).then(() => hangUp(child));
    });
    child.on('close', (status, by) => {
      closed.abort();
      const reason = firstLine(Buffer.concat(said));
      if (status === ACCEPTED || status === REFUSED) resolve({ isAccepted: status === ACCEPTED, reason });
      else fail(by === null ? `exit status ${status}${reason && `, ${reason}`}` : `${by} ended it`);
    });
    signal.addEventListener(
      'abort',
      () => {
        endGroup(child.pid);
        hangUp(child);
      },
      { once: true },
    );
  });
}

function hangUp({ stdin, stdout, stderr }: ChildProcessWithoutNullStreams): void {
  for (const stream of [stdin, stdout, stderr]) stream.destroy();
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

/** `toSite` is ANTIPODE_TO_SITE. A list is on the standard input only. */
function environmentOf(message: HookMessage): Record<string, string> {
  const fields = Object.entries(message).filter(([, value]) => typeof value !== 'object');
  return Object.fromEntries(
    fields.map(([field, value]) => [`ANTIPODE_${field.replaceAll(/[A-Z]/g, '_$&').toUpperCase()}`, String(value)]),
  );
}

export const firstLine = (said: Buffer): string =>
  printable(said.toString('utf8').trimStart().split('\n', 1)[0]!.trimEnd());
