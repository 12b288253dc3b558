/** A bundle for support from a running system, with secrets wherever somebody may have put them: none is in the bundle. */
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { operatorConfigOf } from '../../support/command.ts';
import { TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 120_000 });

const MAIN = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));
const SECRETS = {
  ofDatabase: 'database-password-5c1',
  ofQueue: 'queue-password-5c2',
  ofHook: 'hook-secret-5c3',
  inLog: 'logged-password-5c4',
  ofVendor: 'vendor-variable-5c5',
  label: 'label-of-a-key-5c6',
  misplaced: 'misplaced-pin-5c7',
  pin: 'pin-of-a-token-5c9',
  token: 'antipode-site-1.secret5c8.check',
} as const;

let system: TestSystem;
let folder: string;

beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'], health: true, rpoSeconds: 3_600 });
  await system.makeKey('a', '01');
  await system.replicate();
  folder = join(system.folder, 'supported');
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(join(folder, 'hook.key'), SECRETS.ofHook, { mode: 0o600 });
  writeFileSync(
    join(folder, 'coordinator.yaml'),
    `id: main
listen: localhost:1
tls: { ca: ca.pem, certificate: c.pem, key: k.pem }
dataFolder: .
databaseUrl: postgres://antipode:${SECRETS.ofDatabase}@localhost:1/antipode
redisUrl: redis://:${SECRETS.ofQueue}@localhost:1
hooks: { veto: [{ name: web, url: 'http://localhost:1/${SECRETS.ofHook}', secretFile: hook.key }] }
`,
  );
  writeFileSync(
    join(folder, 'bin', 'journalctl'),
    `#!/bin/sh
cat <<'END'
agent: a hook says password: ${SECRETS.inLog}
agent: connected to postgres://antipode:${SECRETS.inLog}@db/x
agent: sh -x shows ${SECRETS.ofHook} and ${SECRETS.pin} and ${SECRETS.ofVendor} and ${SECRETS.label}
agent: somebody pasted ${SECRETS.token}
END
`,
  );
  chmodSync(join(folder, 'bin', 'journalctl'), 0o755);
  writeFileSync(join(folder, 'a.pin'), `${SECRETS.pin}\n`, { mode: 0o600 });
  writeFileSync(
    join(folder, 'agent.yaml'),
    `site: a
listen: localhost:1
tls: { ca: ca.pem, certificate: c.pem, key: k.pem }
dataFolder: .
coordinator: { id: main, address: 'localhost:1' }
partitions:
  - { name: p, module: /usr/lib/m.so, tokenLabel: t, pinFile: a.pin, exclude: { labels: [${SECRETS.label}] } }
vaults: [{ name: v, officerPasswordFile: ${SECRETS.misplaced} }]
vendor: { token: ${SECRETS.ofVendor} }
`,
  );
}, 120_000);
afterAll(() => system?.close());

const operatorFile = (): string => operatorConfigOf(system.folder).file;

function bundle(
  args: readonly string[],
  { limit = 'true' } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = `${limit}; exec "$0" "$@"`;
  const env = { ...process.env, NO_COLOR: '1', PATH: `${join(folder, 'bin')}:${process.env['PATH']}` };
  const words = ['-c', script, process.execPath, MAIN, 'support-bundle', ...args];
  return new Promise((resolve) =>
    execFile('/bin/bash', words, { cwd: folder, env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    ),
  );
}

const contentsOf = (file: string): string => gunzipSync(readFileSync(join(folder, file))).toString('latin1');
const namesIn = (file: string): string[] =>
  String(execFileSync('tar', ['-tzf', join(folder, file)]))
    .trim()
    .split('\n')
    .map((name) => name.replace(/^[^/]*\//, ''));

it('has what a supporter needs, and no secret from any place', async () => {
  const args = ['--agent', 'agent.yaml', '--coordinator', 'coordinator.yaml', '--operator', operatorFile()];
  const { code, stdout, stderr } = await bundle([...args, '--out', 'all.tar.gz', '--yes', '--json']);
  expect([code, stderr]).toEqual([0, expect.not.stringContaining('INVARIANT')]);
  const text = contentsOf('all.tar.gz');
  for (const [where, secret] of Object.entries(SECRETS))
    for (const shown of [text, stdout, stderr]) expect([where, shown.includes(secret)]).toEqual([where, false]);
  expect(namesIn('all.tar.gz')).toEqual(
    expect.arrayContaining([
      ...['MANIFEST.json', 'machine.json', 'libraries.json', 'config/agent.json', 'config/coordinator.json'],
      ...[
        'doctor/agent.json',
        'doctor/operator.json',
        'journal.txt',
        'coordinator/status.json',
        'coordinator/events.jsonl',
      ],
      ...['disk/agent.json', 'certificates/operator.json'],
    ]),
  );
  expect(text).toMatch(/generation-captured/);
  expect(text).toMatch(/spiffe:\/\/[^"]*\/operator\//);
  const { missing } = JSON.parse(stdout) as { missing: { file: string; code: string }[] };
  expect(missing).toContainEqual(expect.objectContaining({ file: 'certificates/coordinator.json', code: 'ENOENT' }));
  expect(statSync(join(folder, 'all.tar.gz')).mode & 0o777).toBe(0o600);
});

it('replaces no file, and writes nothing without a confirmation', async () => {
  const before = readdirSync(folder);
  const again = await bundle(['--operator', operatorFile(), '--out', 'all.tar.gz', '--yes']);
  const unasked = await bundle(['--operator', operatorFile(), '--out', 'other.tar.gz', '--without', 'doctor']);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('FILE_EXISTS')]);
  expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringMatching(/FILE +BYTES +TAKEN OUT.*--yes/s)]);
  expect(readdirSync(folder)).toEqual(before);
});

it('leaves nothing half-written where there is no room', async () => {
  const before = readdirSync(folder);
  const full = await bundle(['--operator', operatorFile(), '--out', 'full.tar.gz', '--yes'], { limit: 'ulimit -f 1' });
  expect([full.code, full.stderr]).toEqual([1, expect.stringContaining('FILE_UNWRITABLE')]);
  expect(readdirSync(folder)).toEqual(before);
});

it('is made without a coordinator, and says which sources did not answer', async () => {
  await system.coordinatorProcess!.killAll();
  const { code, stdout } = await bundle([
    '--operator',
    operatorFile(),
    '--out',
    'alone.tar.gz',
    '--yes',
    '--timeout',
    '2',
  ]);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/Not collected:.*coordinator\/status\.json: \[[A-Z_]+\]/s)]);
  expect(namesIn('alone.tar.gz')).toContain('machine.json');
  expect(existsSync(join(folder, 'alone.tar.gz'))).toBe(true);
});
