/** Answers that are typed at questions of a command which wants a terminal, each when it is asked for. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { systemClock } from '@antipode/runtime';

/** Those of systemd-ask-password, softhsm2-util, pkcs11-tool and `antipode`. */
const QUESTIONS = /(?:PIN|Type the name of [a-z ]+): /gi;
const LOOK_MS = 20;

export interface Typed {
  readonly status: number;
  readonly printed: string;
}

interface TypeOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
}

/** @param words a program that makes the terminal, such as `script -qec LINE /dev/null` */
export async function typed(
  words: readonly string[],
  answers: readonly string[],
  { environment, timeoutMs }: TypeOptions,
): Promise<Typed> {
  const [program = '', ...rest] = words;
  const child = spawn(program, rest, { stdio: 'pipe', env: environment, timeout: timeoutMs, killSignal: 'SIGKILL' });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (part: Buffer) => {
      printed += part.toString();
    });
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? -1));
  });
  for (let given = 0; given < answers.length && child.exitCode === null; await systemClock.sleep(LOOK_MS)) {
    // A program throws away what was typed before it has turned the echo off.
    const isAsked = [...printed.matchAll(QUESTIONS)].length > given && isSilent(child);
    if (isAsked) child.stdin.write(`${answers[given++]}\n`);
  }
  if (answers.length === 0) child.stdin.end();
  return { status: await ended, printed };
}

/** Whether the terminal that a child has made shows nothing of what is typed there. */
function isSilent({ pid }: ChildProcess): boolean {
  const terminal = terminalBelow(pid ?? 0);
  if (terminal === undefined) return false;
  return / -echo /.test(spawnSync('stty', ['-a', '-F', terminal], { encoding: 'utf8' }).stdout);
}

function terminalBelow(pid: number): string | undefined {
  try {
    // By the process, since a machine of a test has names of its own for terminals.
    const input = `/proc/${pid}/fd/0`;
    if (readlinkSync(input).startsWith('/dev/pts/')) return input;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    return children
      .map(Number)
      .map(terminalBelow)
      .find((found) => found !== undefined);
  } catch {
    return undefined;
  }
}
