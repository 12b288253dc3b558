/** The emulated tool as a program. */
import { appendFileSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { emulate } from './emulator.ts';
import type { Terminal } from './terminal.ts';

const folder = process.env['ChrystokiConfigurationPath'];
if (folder === undefined) throw new Error('ChrystokiConfigurationPath names no folder');

const isTerminal = process.stdout.isTTY === true;
const input = createInterface({ input: process.stdin, terminal: false })[Symbol.asyncIterator]();
const forever = new Promise<never>(() => {});

const terminal: Terminal = {
  isTerminal,
  write: (bytes, stream = 'output') => {
    for (let written = 0; written < bytes.length; )
      try {
        written += writeSync(stream === 'error' ? 2 : 1, bytes, written);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EAGAIN') throw cause;
      }
  },
  readLine: async () => {
    const { done, value } = await input.next();
    return done === true ? undefined : value;
  },
  // As getpass(3) does: from the terminal of the process, whatever its input is.
  readSecret: async () => {
    if (process.stdin.isTTY === true) return terminal.readLine();
    try {
      const file = openSync('/dev/tty', 'r');
      const buffer = Buffer.alloc(256);
      const length = readSync(file, buffer);
      return buffer.toString('utf8', 0, length).replace(/\n$/, '');
    } catch {
      return undefined;
    }
  },
  sleep: (ms) => sleep(ms),
  turn: async () => {},
  die: () => {
    process.kill(process.pid, 'SIGKILL');
    return forever;
  },
  hang: () => {
    setInterval(() => {}, 1_000);
    return forever;
  },
};

// Every user of the machine can see the arguments of this process: a test judges them.
appendFileSync(
  join(folder, 'argv.jsonl'),
  `${JSON.stringify({
    words: process.argv.slice(2),
    mode: process.argv[2] === '-f' ? statSync(process.argv[3]!).mode & 0o777 : undefined,
  })}\n`,
);

process.exitCode = await emulate(folder, process.argv.slice(2), terminal);
process.exit();
