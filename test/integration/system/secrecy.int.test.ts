/** Known key values are planted, replicated and drilled; then every place that a value could have reached is searched. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type Dirent, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';
import { type TestToken, USER_PIN } from '../../support/tokens.ts';

let system: TestSystem;

beforeAll(async () => {
  system = await TestSystem.start({ links: 'recorded' });
});
afterAll(() => system?.close());

const LABEL = 'planted secret';

/** Imports a value that we know, as an operator would bring in a key from elsewhere. */
function plant(token: TestToken, bytes: Uint8Array, ...how: string[]): void {
  const path = join(token.folder, 'planted');
  writeFileSync(path, bytes);
  token.tool('--write-object', path, ...how, '--label', LABEL, '--private', '--sensitive', '--extractable');
  rmSync(path);
}

/** The numbers of a private key that must not be seen anywhere. */
function secretNumbers(key: KeyObject): Buffer[] {
  const { d, p, q } = key.export({ format: 'jwk' });
  return [d, p, q].filter((number) => number !== undefined).map((number) => Buffer.from(number, 'base64url'));
}

/**
 * All commands that a Redis gets from now on, with their bytes as they were sent. By a socket of its own: the client
 * fails where a command of somebody else comes before it has taken in the answer to MONITOR.
 */
async function monitored(path: string): Promise<{ commands: () => Buffer; close: () => void }> {
  const socket = connect(path);
  const parts: Buffer[] = [];
  socket.on('data', (part) => parts.push(part));
  socket.write('MONITOR\r\n');
  await once(socket, 'data');
  return { commands: () => unescaped(Buffer.concat(parts)), close: () => socket.destroy() };
}

/** MONITOR shows a byte that cannot be printed as `\x` and two digits, and a quotation mark behind a backslash. */
const unescaped = (shown: Buffer): Buffer =>
  Buffer.from(
    shown
      .toString('latin1')
      .replace(/\\(?:x([0-9a-f]{2})|(.))/gs, (_all, byte: string | undefined, one: string) =>
        byte === undefined
          ? ({ n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' }[one] ?? one)
          : String.fromCharCode(Number.parseInt(byte, 16)),
      ),
    'latin1',
  );

/** Every file under a folder, with its contents. Servers that run remove files meanwhile: those are nowhere any more. */
function filesUnder(folder: string): [path: string, contents: Buffer][] {
  return list(folder).flatMap((entry): [string, Buffer][] => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesUnder(path);
    const contents = entry.isFile() ? unlessGone(() => readFileSync(path)) : undefined;
    return contents === undefined ? [] : [[path, contents]];
  });
}

const list = (folder: string): Dirent[] => unlessGone(() => readdirSync(folder, { withFileTypes: true })) ?? [];

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
}

it('leaves no key value in any file, queue, log, database or connection', async () => {
  const { token } = system.site('a');
  const monitor = await monitored(system.coordinator.embedded.redis!.socketPath);

  const secret = randomBytes(32);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const der = (key: KeyObject): Buffer =>
    createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' })).export({ type: 'pkcs8', format: 'der' });
  plant(token, secret, '--type', 'secrkey', '--key-type', 'AES:32', '--id', 'aa');
  plant(token, der(rsa), '--type', 'privkey', '--id', 'ab', '--usage-sign');
  plant(token, der(ec), '--type', 'privkey', '--id', 'ac', '--usage-sign');

  const round = await system.replicate();
  expect(round.state.newest).toMatchObject({ objectCount: 3, uncaptured: [] });
  const { operationId } = await system.operator.runDrill({ group: GROUP, site: '' });
  const drill = await system.until('the drill has ended', async () =>
    (await system.operator.listDrills({ group: GROUP })).drills.find(({ id }) => id === operationId),
  );
  expect(drill).toMatchObject({ passed: true, proof: { proved: 3, failed: 0 } });

  const values = [secret, ...secretNumbers(rsa), ...secretNumbers(ec)].flatMap((value) => [
    value,
    Buffer.from(value.toString('hex')),
    Buffer.from(value.toString('base64')),
  ]);
  // Labels and PINs are as bad in a log and at the coordinator: only agents see manifests, only PIN files hold PINs.
  const sensitive = [...values, Buffer.from(LABEL), Buffer.from(USER_PIN)];
  const log = Buffer.from(system.logLines.join('\n'));
  const queue = monitor.commands();
  const wire = Buffer.concat(system.links.map((link) => link.recorded()));
  expect(log.length).toBeGreaterThan(1_000);
  expect(queue.includes('"intentId"')).toBe(true);
  expect(wire.length).toBeGreaterThan(10_000);
  for (const needle of sensitive)
    expect([log, queue, wire].map((haystack) => haystack.includes(needle))).toEqual([false, false, false]);

  const folders = [
    system.folder,
    ...[...system.sites.values()].flatMap(({ token: one, scratch }) => [
      one.folder,
      ...(scratch === undefined ? [] : [scratch.folder]),
    ]),
  ];
  const files = folders.flatMap(filesUnder);
  for (const kind of [
    '/coordinator/data/postgres/',
    '/coordinator/data/redis/',
    'journal.db',
    'generations.db',
    '.object',
  ])
    expect(files.some(([path]) => path.includes(kind))).toBe(true);
  const found = files.filter(([path, contents]) =>
    (path.includes('/coordinator/') ? sensitive : values).some((needle) => contents.includes(needle)),
  );
  expect(found.map(([path]) => path)).toEqual([]);
  monitor.close();
});
