import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAgentConfig } from '@antipode/site-agent';
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

it('help of `partition` does not show the former name', () => {
  const partition = program().commands.find((one) => one.name() === 'partition')!;
  expect(partition.helpInformation()).not.toContain('enrol');
});
