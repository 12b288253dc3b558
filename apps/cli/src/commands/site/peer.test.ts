import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cardText, codeOf, loadAgentConfig } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { program } from '../../main.ts';

const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-peer-'));
afterAll(() => rmSync(folder, { recursive: true }));

const config = join(folder, 'agent.yaml');
writeFileSync(
  config,
  stringify({
    site: 'a',
    listen: 'localhost:7401',
    coordinator: { id: 'main', address: 'localhost:7400' },
    tls: { ca: 'ca.crt', certificate: 'tls.crt', key: 'tls.key' },
    dataFolder: 'data',
    partitions: [{ name: 'main', module: '/module.so', tokenLabel: 'payments', pinFile: 'pin' }],
  }),
);
const { pinsFile } = loadAgentConfig(config);
const PEER = `b=9aa08ea09924bb93=${'4f'.repeat(32)}`;

let written = { stdout: '', stderr: '' };
beforeEach(() => {
  written = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(pinsFile, { force: true });
});

const antipode = async (...words: string[]): Promise<unknown> =>
  (await program(words)).parseAsync(words, { from: 'user' });

describe.each([
  ['peer trust', ''],
  ['partition enrol', 'antipode peer trust'],
])('%s', (path, notice) => {
  const words = path.split(' ');

  it('pins a peer of the group, and names the new command only under the old name', async () => {
    await antipode(...words, 'payments', '--peer', PEER, '--config', config, '--json');
    expect(JSON.parse(written.stdout)).toEqual({ group: 'payments', added: 1, pinsFile });
    expect(readFileSync(pinsFile, 'utf8')).toContain('9aa08ea09924bb93');
    if (notice === '') expect(written.stderr).toBe('');
    else expect(written.stderr).toContain(notice);
  });

  it('refuses a command line without any peer', async () => {
    await expect(antipode(...words, 'payments', '--config', config)).rejects.toMatchObject({ code: 'USAGE' });
  });
});

describe('a card of another site', () => {
  const card = { site: 'b', pins: [{ site: 'b', serial: 's1', identity: '4f'.repeat(32), role: 'member' as const }] };
  const file = join(folder, 'card-b.yaml');
  writeFileSync(file, cardText(card));
  const trust = (...more: string[]) =>
    antipode('peer', 'trust', 'payments', '--file', file, ...more, '--config', config, '--json');

  it('is trusted with its code, as a whole', async () => {
    await trust('--code', codeOf(card).toLowerCase());
    expect(JSON.parse(written.stdout)).toMatchObject({ added: 1 });
    expect(readFileSync(pinsFile, 'utf8')).toContain('4f'.repeat(32));
  });

  it.each([
    ['PEER_NOT_PINNED', ['--code', 'AAAA-AAAA-AAAA-AAAA']],
    ['USAGE', ['--code', codeOf(card), '--code', codeOf(card)]],
    ['USAGE', []],
  ])('is not trusted and its code not shown: %s', async (code, more) => {
    await expect(trust(...more)).rejects.toMatchObject({ code });
    expect(existsSync(pinsFile)).toBe(false);
    expect(written.stdout + written.stderr).not.toContain(codeOf(card));
  });
});

describe('a card of this site', () => {
  const several = join(folder, 'several.yaml');
  const journal = Journal.open(join(folder, 'data'));
  const partitions = (['main', 'other', 'scratch'] as const).map((name) => ({
    name,
    module: '/module.so',
    tokenLabel: name,
    pinFile: 'pin',
    ...(name === 'scratch' ? { role: name } : {}),
  }));
  for (const { name } of partitions)
    journal.identities.add(name, {
      serial: `serial-${name}`,
      ckaId: new Uint8Array(16),
      publicHalf: new TextEncoder().encode(name),
    });
  journal.close();
  writeFileSync(several, readFileSync(config, 'utf8').replace(/partitions:.*/s, stringify({ partitions })));
  const card = async (...words: string[]) => {
    await antipode('peer', 'card', ...words, '--json');
    const { partitions, code } = JSON.parse(written.stdout);
    return { serials: partitions.map(({ serial }: { serial: string }) => serial), code };
  };

  it('names the only partition, or those that are asked for', async () => {
    expect((await card('--config', config)).serials).toEqual(['serial-main']);
    written.stdout = '';
    const words = ['--partition', 'scratch', '--partition', 'main', '--partition', 'main'];
    expect((await card(...words, '--config', several)).serials).toEqual(['serial-scratch', 'serial-main']);
  });

  it('is not made of every partition where nobody has said which', async () => {
    await expect(card('--config', several)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('main (member), other (member), scratch (scratch)'),
      details: { field: 'partition' },
    });
    await expect(card('--partition', 'none', '--config', several)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('trust that is taken back', () => {
  const distrust = (...words: string[]) => antipode('peer', 'distrust', ...words, '--config', config);
  const pinned = (): string => (existsSync(pinsFile) ? readFileSync(pinsFile, 'utf8') : '');
  beforeEach(async () => {
    await antipode(
      'peer',
      'trust',
      'payments',
      '--peer',
      PEER,
      '--scratch-peer',
      `b=s2=${'5a'.repeat(32)}`,
      '--config',
      config,
    );
    await antipode('peer', 'trust', 'cards', '--peer', `c=s3=${'6b'.repeat(32)}`, '--config', config);
    written = { stdout: '', stderr: '' };
  });

  it('is not taken back without a confirmation, and says first what follows', async () => {
    await expect(distrust('b')).rejects.toMatchObject({ code: 'USAGE', details: { field: 'yes' } });
    expect(written.stderr).toContain('from partition 9aa08ea09924bb93 of site b any more');
    expect(pinned()).toContain('9aa08ea09924bb93');
  });

  it('is that of a site, and a second run changes nothing', async () => {
    await distrust('b', '--yes', '--json');
    expect(JSON.parse(written.stdout)).toMatchObject({
      site: 'b',
      removed: 2,
      pinsFile,
      groups: [
        {
          group: 'payments',
          losesReplication: false,
          partitions: [
            { serial: '9aa08ea09924bb93', role: 'member' },
            { serial: 's2', role: 'scratch' },
          ],
        },
      ],
    });
    expect(pinned()).not.toContain('site: b');
    expect(pinned()).toContain('site: c');
    written.stdout = '';
    await distrust('b', '--json');
    expect(JSON.parse(written.stdout)).toEqual({ site: 'b', removed: 0, groups: [], pinsFile });
  });

  it('is that of one partition, and the others are named', async () => {
    await distrust('b', '--partition', 's2', '--yes');
    expect(written.stdout).toContain('1 pin of site b taken back');
    expect(written.stdout).toContain('still trusts member 9aa08ea09924bb93');
    expect(pinned()).not.toContain('serial: s2');
  });

  it('is that of a card', async () => {
    const file = join(folder, 'card-of-b.yaml');
    const identity = '5a'.repeat(32);
    writeFileSync(file, cardText({ site: 'b', pins: [{ site: 'b', serial: 's2', identity, role: 'scratch' }] }));
    await distrust(file, '--yes');
    expect(pinned()).toContain('9aa08ea09924bb93');
    expect(pinned()).not.toContain('serial: s2');
  });

  it('of a name that nothing has changes nothing, and shows who is trusted', async () => {
    await distrust('z');
    expect(written.stdout).toContain('nothing was changed');
    expect(written.stdout).toContain('Sites that are trusted: b, c.');
    await expect(distrust('no/such.yaml')).rejects.toMatchObject({ code: 'USAGE', details: { field: 'site' } });
  });
});

it('help of `partition` does not show the former name', async () => {
  const partition = (await program()).commands.find((one) => one.name() === 'partition')!;
  expect(partition.helpInformation()).not.toContain('enrol');
});
