/**
 * Loaded into a process before its program (`NODE_OPTIONS=--import`). Names the points inside of native cloning at which
 * the process can be killed. They are between any two of its system calls or PKCS#11 calls: those that take, encrypt,
 * decrypt, place or compare an object, or give a token another token key. It records them, or kills at one of them, once.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { extname } from 'node:path';
import { Module } from '@antipode/cryptoki/testing';
import { POINTS_ORDER, type PointOrder, type PointPhase } from './kill.ts';

const order = JSON.parse(process.env[POINTS_ORDER] ?? '') as PointOrder;
const counts = new Map<PointPhase, number>();
/** Of open files, what they are. */
const kinds = new Map<number, string>();
/** While a point is looked at. */
let isQuiet = false;

/** Who calls, by the files on the stack. */
const CALLERS: readonly (readonly [file: string, phase: (name: string) => PointPhase | undefined])[] = [
  ['/softhsm/rekey.ts', () => 'enrolment'],
  ['/softhsm/taking.ts', () => 'taking'],
  ['/softhsm/placing.ts', (name) => (name.startsWith('C_') ? 'comparison' : 'placing')],
  [
    '/native/native-sealer.ts',
    (name) =>
      ({ C_Encrypt: 'encryption', C_Decrypt: 'decryption', C_Get: 'comparison' })[
        /^C_(?:Encrypt|Decrypt|Get)/.exec(name)?.[0] ?? ''
      ] as PointPhase | undefined,
  ],
];
Error.stackTraceLimit = 40;

function point(name: string): void {
  if (isQuiet) return;
  isQuiet = true;
  try {
    const stack = new Error().stack ?? '';
    const caller = CALLERS.find(([file]) => stack.includes(file));
    const phase = caller?.[1](name);
    if (phase === undefined) return;
    const index = counts.get(phase) ?? 0;
    counts.set(phase, index + 1);
    if (order.record !== undefined) fs.appendFileSync(order.record, `${phase} ${name}\n`);
    if (order.kill?.phase === phase && order.kill.index === index) die(order.kill.victim, order.mark);
  } finally {
    isQuiet = false;
  }
}

/** A later life of the same process goes on. */
function die(victim: string, mark: string): void {
  try {
    fs.closeSync(fs.openSync(mark, 'wx'));
  } catch {
    return;
  }
  if (victim === 'agent') process.kill(process.ppid, 'SIGKILL');
  else if (victim === 'group') process.kill(-process.ppid, 'SIGKILL');
  else process.kill(process.pid, 'SIGKILL');
  // The signal is on its way: nothing more is to be done.
  for (;;);
}

const kindOf = (path: unknown): string => {
  const extension = extname(String(path)).slice(1);
  return extension === '' ? (String(path).endsWith('generation') ? 'generation' : 'folder') : extension;
};

type Call = (...args: never[]) => unknown;

/** Each call is a point, by the file that it is about. */
function watch(name: 'openSync' | 'linkSync' | 'renameSync' | 'unlinkSync' | 'rmSync' | 'mkdirSync'): void {
  const call = fs[name] as Call;
  const watched: Call = (...args) => {
    point(`${name.replace('Sync', '')} ${kindOf(args[0])}`);
    const result = call(...args);
    if (name === 'openSync') kinds.set(result as number, kindOf(args[0]));
    return result;
  };
  Object.assign(fs, { [name]: watched });
}

function watchFile(name: 'readSync' | 'writeSync' | 'fsyncSync' | 'fchmodSync'): void {
  const call = fs[name] as Call;
  const watched: Call = (...args) => {
    point(`${name.replace('Sync', '')} ${kinds.get(args[0]!) ?? 'file'}`);
    return call(...args);
  };
  Object.assign(fs, { [name]: watched });
}

for (const name of ['openSync', 'linkSync', 'renameSync', 'unlinkSync', 'rmSync', 'mkdirSync'] as const) watch(name);
for (const name of ['readSync', 'writeSync', 'fsyncSync', 'fchmodSync'] as const) watchFile(name);
syncBuiltinESMExports();

const tryCall = Module.prototype.tryCall;
Module.prototype.tryCall = function (name, ...args) {
  point(name);
  return tryCall.call(this, name, ...args);
};
