import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { loadCoordinatorConfig, PROFILES } from '@antipode/coordinator';
import { Tls } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { loadAgentConfig } from '@antipode/site-agent';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  makeApplicationFolder,
  makeAuthority,
  makeCoordinatorFolder,
  makeIssuer,
  makeOperatorFolder,
  makeSiteFolder,
} from './folders.ts';

const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-folders-'));
const authority = join(root, 'ca');
const coordinator = { id: 'main', address: '10.0.0.5:7400' };
const partition = {
  name: 'main',
  module: '/lib/p11.so',
  tokenLabel: 'payments',
  pinFile: 'a.pin',
  role: 'member',
} as const;

/** The kinds of folder; each call makes one at `folder`. */
const MAKERS: Readonly<Record<string, (folder: string) => Promise<string[]>>> = {
  authority: (folder) => makeAuthority({ folder, trustDomain: 'dr.example.org' }),
  issuer: (folder) => makeIssuer({ folder, authority, name: 'main' }),
  coordinator: (folder) => makeCoordinatorFolder({ folder, authority, id: 'main', listen: '10.0.0.5:7400' }),
  site: (folder) =>
    makeSiteFolder({
      folder,
      authority,
      site: 'a',
      listen: '10.0.1.5:7401',
      coordinators: [coordinator],
      partitions: [partition],
    }),
  operator: (folder) => makeOperatorFolder({ folder, authority, name: 'alice', coordinators: [coordinator] }),
  viewer: (folder) =>
    makeOperatorFolder({ folder, authority, name: 'alice', role: 'viewer', coordinators: [coordinator] }),
  application: (folder) =>
    makeApplicationFolder({
      folder,
      authority,
      name: 'signer',
      coordinators: [coordinator],
      agent: { site: 'a', address: '10.0.1.5:7401' },
    }),
};
const kinds = Object.keys(MAKERS);
const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
const modeOf = (file: string): string => (statSync(file).mode & 0o777).toString(8);

beforeAll(() => makeAuthority({ folder: authority, trustDomain: 'dr.example.org' }));
afterAll(() => rmSync(root, { recursive: true }));

describe.each(kinds)('the folder of the kind %s', (kind) => {
  const make = MAKERS[kind]!;
  const folder = join(root, 'made', kind);

  it('is made with every file that it names, and keys that only their owner reads', async () => {
    const umask = process.umask(0);
    try {
      const files = await make(folder);
      expect(readdirSync(folder).sort()).toEqual(files.map((file) => file.slice(folder.length + 1)).sort());
    } finally {
      process.umask(umask);
    }
    const modes = Object.fromEntries(readdirSync(folder).map((name) => [name, modeOf(join(folder, name))]));
    const keys = Object.keys(modes).filter((name) => contents(folder)[name]!.includes('PRIVATE KEY'));
    expect(keys).toHaveLength(1);
    for (const [name, mode] of Object.entries(modes))
      expect([name, mode]).toEqual([name, keys.includes(name) ? '600' : '644']);
    expect(modeOf(folder)).toBe('711');
  });

  it('lets others pass through under any umask, and its files stay as private as it says', async () => {
    const masked = join(root, 'masked', kind);
    const umask = process.umask(0o077);
    try {
      await make(join(masked, 'deep'));
    } finally {
      process.umask(umask);
    }
    expect([dirname(masked), masked, join(masked, 'deep')].map(modeOf)).toEqual(['711', '711', '711']);
    for (const name of readdirSync(join(masked, 'deep'))) expect(modeOf(join(masked, 'deep', name))).toBe('600');
    rmSync(dirname(masked), { recursive: true });
  });

  it('is never made over another: nothing changes', async () => {
    const before = contents(folder);
    const error = await rejection(make(folder));
    expect(error.code).toBe('FILE_EXISTS');
    expect(contents(folder)).toEqual(before);
  });

  it('is not begun where the last of its files exists already', async () => {
    const taken = join(root, 'taken', kind);
    mkdirSync(taken, { recursive: true });
    const last = Object.keys(contents(folder)).find((name) => /\.yaml$|^trust-domain$/.test(name))!;
    writeFileSync(join(taken, last), 'mine');
    expect((await rejection(make(taken))).details['path']).toBe(join(taken, last));
    expect(contents(taken)).toEqual({ [last]: 'mine' });
  });

  it('cannot be made at the path of a file', async () => {
    const file = join(root, `file-${kind}`);
    writeFileSync(file, '');
    const inside = join(file, 'folder');
    expect((await rejection(make(inside))).code).toBe('FILE_UNWRITABLE');
  });
});

describe('what was made', () => {
  it.each([
    ['coordinator', 'main'],
    ['site', 'a'],
    ['operator', 'alice'],
    ['operator', 'alice', 'viewer'],
  ])('has a certificate of the authority for the %s %s, and its key', (kind, name, role?: string) => {
    const folder = join(root, 'made', role ?? kind);
    const { 'ca.crt': ca, 'tls.crt': certificate } = contents(folder);
    expect(ca).toBe(contents(authority)['ca.crt']);
    expect(new X509Certificate(certificate!).verify(new X509Certificate(ca!).publicKey)).toBe(true);
    const files = { caFile: 'ca.crt', certificateFile: 'tls.crt', keyFile: 'tls.key' };
    const tls = new Tls(
      Object.fromEntries(Object.entries(files).map(([role, file]) => [role, join(folder, file)])) as never,
    );
    expect(tls.identity).toEqual({
      trustDomain: 'dr.example.org',
      kind,
      name,
      ...(role === undefined ? {} : { role }),
    });
  });

  it('is a configuration that its process accepts', () => {
    vi.stubEnv('DATABASE_URL', undefined);
    vi.stubEnv('REDIS_URL', undefined);
    expect(loadCoordinatorConfig(join(root, 'made/coordinator/coordinator.yaml'))).toMatchObject({
      id: 'main',
      listen: '10.0.0.5:7400',
      dataFolder: join(root, 'made/coordinator/data'),
      timings: PROFILES.default,
    });
    vi.unstubAllEnvs();
    expect(loadAgentConfig(join(root, 'made/site/agent.yaml'))).toMatchObject({
      site: 'a',
      listen: '10.0.1.5:7401',
      coordinators: [coordinator],
      partitions: [{ name: 'main', tokenLabel: 'payments', role: 'member', pinFile: resolve('a.pin') }],
    });
  });

  it('holds no PIN, only where it is to be read', () => {
    expect(contents(join(root, 'made/site'))['agent.yaml']).not.toMatch(/\bpin:/i);
  });
});

describe('a name that a certificate cannot have', () => {
  it.each(['', 'A', 'a b', '-a', 'a'.repeat(64), '../a'])('is refused: "%s"', async (site) => {
    const folder = join(root, 'refused');
    const made = makeSiteFolder({
      folder,
      authority,
      site,
      listen: 'a:1',
      coordinators: [coordinator],
      partitions: [partition],
    });
    expect((await rejection(made)).code).toBe('USAGE');
    expect(existsSync(folder)).toBe(false);
  });

  it('is refused for a trust domain', async () => {
    const folder = join(root, 'refused');
    expect((await rejection(makeAuthority({ folder, trustDomain: 'DR example' }))).code).toBe('REQUEST_INVALID');
    expect(existsSync(folder)).toBe(false);
  });
});

it('nothing is made without an authority', async () => {
  const folder = join(root, 'orphan');
  const made = makeOperatorFolder({
    folder,
    authority: join(root, 'nowhere'),
    name: 'alice',
    coordinators: [coordinator],
  });
  expect((await rejection(made)).code).toBe('FILE_UNWRITABLE');
  expect(existsSync(folder)).toBe(false);
});
