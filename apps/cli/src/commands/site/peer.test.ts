import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cardText, codeOf, loadAgentConfig } from '@antipode/site-agent';
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

const antipode = (...words: string[]): Promise<unknown> => program().parseAsync(words, { from: 'user' });

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

it('help of `partition` does not show the former name', () => {
  const partition = program().commands.find((one) => one.name() === 'partition')!;
  expect(partition.helpInformation()).not.toContain('enrol');
});
