import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { loadCoordinatorConfig } from './config.ts';
import { PROFILES } from './timings.ts';

const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-config-'));
const file = join(folder, 'coordinator.yaml');
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => void vi.unstubAllEnvs());

const GOOD = `id: main
listen: 10.0.0.5:7400
tls:
  ca: ca.crt
  certificate: tls.crt
  key: keys/tls.key
dataFolder: data
`;
function load(text: string) {
  vi.stubEnv('DATABASE_URL', undefined);
  vi.stubEnv('REDIS_URL', undefined);
  writeFileSync(file, text);
  return loadCoordinatorConfig(file);
}

/** Where the faults stand, one line each, as `line:column` with the field. */
function faults(text: string): string[] {
  const error = thrown(() => load(text));
  expect(error.code).toBe('CONFIG_INVALID');
  const lines = error.message.replace('[CONFIG_INVALID] ', '').split('\n');
  return lines.map((line) => {
    expect(line.startsWith(`${file}:`)).toBe(true);
    return line
      .slice(file.length + 1)
      .replace(/^(\d+:\d+): ((?:[a-z]+(?:\.[a-z]+)*)(?=: ))?.*$/i, '$1 $2')
      .trim();
  });
}

describe('the configuration of a coordinator', () => {
  it('has its paths from its own folder, and is patient by default', () => {
    expect(load(GOOD)).toEqual({
      id: 'main',
      listen: '10.0.0.5:7400',
      tls: { ca: join(folder, 'ca.crt'), certificate: join(folder, 'tls.crt'), key: join(folder, 'keys/tls.key') },
      dataFolder: join(folder, 'data'),
      hooks: { roleChange: [], veto: [] },
      notifications: { receivers: [], heartbeats: [], waitFactor: 1 },
      timings: PROFILES.default,
    });
    expect(load(`${GOOD}timings: fast\n`).timings).toEqual(PROFILES.fast);
  });

  it('takes external servers from the file, and rather from the environment', () => {
    const text = `${GOOD}databaseUrl: postgres://db/antipode\nredisUrl: redis://cache\n`;
    expect(load(text)).toMatchObject({ databaseUrl: 'postgres://db/antipode', redisUrl: 'redis://cache' });
    vi.stubEnv('DATABASE_URL', 'postgres://other/antipode');
    vi.stubEnv('REDIS_URL', 'redis://other');
    expect(loadCoordinatorConfig(file)).toMatchObject({
      databaseUrl: 'postgres://other/antipode',
      redisUrl: 'redis://other',
    });
  });

  it('names hooks, and has their secrets from its own folder', () => {
    const dns = '    - {name: dns, command: [/usr/local/bin/move-dns, --now], timeoutSeconds: 30}';
    const desk = '    - {name: desk, url: "https://desk.example/moves", secretFile: desk.secret, ifUnanswered: allow}';
    const { hooks } = load(`${GOOD}hooks:\n  roleChange:\n${dns}\n  veto:\n${desk}\n`);
    const secretFile = join(folder, 'desk.secret');
    expect(hooks).toEqual({
      roleChange: [{ name: 'dns', command: ['/usr/local/bin/move-dns', '--now'], timeoutSeconds: 30 }],
      veto: [
        { name: 'desk', url: 'https://desk.example/moves', secretFile, timeoutSeconds: 10, ifUnanswered: 'allow' },
      ],
    });
  });

  it('is not overridden by an environment variable that is empty', () => {
    load(`${GOOD}databaseUrl: postgres://own\nredisUrl: redis://own\n`);
    for (const name of ['DATABASE_URL', 'REDIS_URL']) vi.stubEnv(name, '');
    expect(loadCoordinatorConfig(file)).toMatchObject({ databaseUrl: 'postgres://own', redisUrl: 'redis://own' });
  });

  it.each([
    ['a value that is not of its form', GOOD.replace('10.0.0.5:7400', 'somewhere'), ['2:9 listen']],
    ['a name in capitals', GOOD.replace('id: main', 'id: Main'), ['1:5 id']],
    ['an unknown key', `${GOOD}tmings: fast\n`, ['8:1']],
    ['an unknown key deeper down', GOOD.replace('  ca: ca.crt', '  ca: ca.crt\n  extra: 1'), ['5:3 tls']],
    ['a key that is missing', GOOD.replace('  key: keys/tls.key\n', ''), ['4:3 tls.key']],
    ['a profile that does not exist', `${GOOD}timings: hasty\n`, ['8:10 timings']],
    ['a database of another kind', `${GOOD}databaseUrl: mysql://db\n`, ['8:14 databaseUrl']],
    ['a hook without a path', `${GOOD}hooks: {roleChange: [{name: dns, command: [move]}]}\n`, ['8:44']],
    [
      'a message for all to read',
      `${GOOD}hooks:\n  veto:\n    - {name: desk, url: "http://desk/", secretFile: s}\n`,
      ['10:25'],
    ],
    [
      'two hooks of one name',
      `${GOOD}hooks:\n  veto: [{name: d, command: [/d]}]\n  roleChange: [{name: d, command: [/d]}]\n`,
      ['9:3 hooks'],
    ],
    ['several at once', GOOD.replace('main', '[]').replace('data\n', '""\n'), ['1:5 id', '7:13 dataFolder']],
    ['a key given twice', `${GOOD}id: other\n`, ['8:1']],
    ['no YAML', 'id: [\n', ['2:1']],
    ['nothing at all', '', ['1:1']],
  ])('says where it has %s', (_what, text, places) => {
    expect(faults(text)).toEqual(places);
  });

  it('that does not exist is named', () => {
    const missing = join(folder, 'missing.yaml');
    const error = thrown(() => loadCoordinatorConfig(missing));
    expect([error.code, error.details['path']]).toEqual(['CONFIG_INVALID', missing]);
  });
});
