/**
 * All checks that need no HSM, database or queue, side by side, one line each. The output of a check is shown only if it
 * fails. With `--static` the unit tests are left out, because the suite runs them itself.
 */
import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Check {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const binaries = join(root, 'node_modules', '.bin');
const binary = (name: string) => join(binaries, name);
const node = process.execPath;
// Checks write into a pipe and would leave their colours out, or keep them where nobody can see them.
const isTerminal = process.stderr.isTTY;
const colours = isTerminal ? { FORCE_COLOR: '1' } : { NO_COLOR: '1', FORCE_COLOR: undefined };

const STATIC: readonly Check[] = [
  { name: 'generated files', command: [node, join(root, 'scripts/generate.ts'), '--check'] },
  { name: 'protocol definitions', command: [binary('buf'), 'lint'] },
  {
    name: 'lint and format',
    command: [binary('biome'), 'ci', '--error-on-warnings', `--colors=${isTerminal ? 'force' : 'off'}`],
  },
  { name: 'types', command: [binary('tsc'), '--project', 'tsconfig.json'] },
  { name: 'types of the page', command: [binary('tsc'), '--project', 'apps/dashboard/page/tsconfig.json'] },
];
/** Against the last release: what was sealed or sent by it must stay readable. */
function protocolChanges(): Check[] {
  const { stdout } = spawnSync('git', ['describe', '--tags', '--abbrev=0', '--match', 'v*'], { cwd: root });
  const release = stdout?.toString().trim() ?? '';
  if (release === '') return [];
  const command = [binary('buf'), 'breaking', '--against', `.git#tag=${release}`] as const;
  return [{ name: `protocol changes since ${release}`, command }];
}

/** First, because it takes longest. */
const UNIT: Check = {
  name: 'unit tests and rules of the tree',
  command: [binary('vitest'), 'run', '--project', 'unit'],
};

const stopped = new AbortController();
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopped.abort());

/** Runs one check and says how it went. Never rejects. */
async function perform({ name, command }: Check): Promise<boolean> {
  const startedAt = performance.now();
  const [program, ...args] = command;
  const output: Buffer[] = [];
  const isOk = await new Promise<boolean>((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      env: {
        ...process.env,
        ...colours,
        PATH: [dirname(node), binaries, process.env['PATH']].join(delimiter),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      signal: stopped.signal,
    });
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
    child.once('error', (error) => output.push(Buffer.from(`${error}\n`)));
    child.once('close', (code) => resolve(code === 0));
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.error(`${isOk ? 'ok    ' : 'FAILED'}  ${name}  ${seconds} s`);
  if (!isOk) process.stderr.write(Buffer.concat(output));
  return isOk;
}

/** Performs all of them, as many at once as there are cores, and says whether all went well. */
async function performAll(checks: readonly Check[]): Promise<boolean> {
  const waiting = [...checks];
  let areOk = true;
  const worker = async () => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      areOk = (await perform(check)) && areOk;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return areOk;
}

const isStatic = process.argv.includes('--static');
const checks = [...(isStatic ? [] : [UNIT]), ...STATIC, ...protocolChanges()];
if (!(await performAll(checks))) process.exitCode = 1;
