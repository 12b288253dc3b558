/** The doctor names what keeps a Luna partition from copying keys. It changes nothing and logs in nowhere. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentFindings } from '@antipode/cli/testing';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { LunaNetwork } from '../../support/luna-network.ts';
import { type PairedToken, paired } from '../../support/softhsm-pair.ts';
import { makeToken, temporaryFolder, USER_PIN } from '../../support/tokens.ts';

const folder = temporaryFolder('luna-doctor');
const file = join(folder, 'agent.yaml');
let source: PairedToken;
let own: PairedToken;
let luna: LunaNetwork;
let text: string;

const bare = (serial: string): string => serial.replace(/^0+(?=.)/, '');
const COPIES = () => `cloning from ${bare(source.serial)} to main`;

beforeAll(() => {
  [source, own] = [paired(makeToken('par0')), paired(makeToken('par1'))];
  const partitions = [source, own].map((one) => ({ ...one, pin: USER_PIN }));
  luna = new LunaNetwork(join(folder, 'luna'), partitions);
  const { config, environment } = own.token;
  text = `site: a
listen: localhost:0
coordinator: { id: main, address: 'localhost:1' }
tls: { ca: ca.pem, certificate: a.pem, key: a.key }
dataFolder: data
partitions:
  - name: main
    module: ${config.module}
    tokenLabel: par1
    pinFile: ${config.pinFile}
    environment: { SOFTHSM2_CONF: ${environment.SOFTHSM2_CONF} }
    native: ${luna.nativeOf(own.serial)}
${luna.clientSection}`;
});

afterEach(() => {
  luna.change(source.serial, { isReachable: true, label: 'par0', policies: { 0: 1, 1: 0, 4: 1, 22: 1, 42: 0 } });
  chmodSync(source.token.config.pinFile, 0o600);
});

afterAll(() => {
  for (const { token } of [source, own]) token.remove();
  rmSync(folder, { recursive: true, force: true });
});

async function found(check: string, yaml = text): Promise<{ ok: boolean; detail: string; code?: string }> {
  writeFileSync(file, yaml);
  const findings = await agentFindings(file);
  const one = findings.find((finding) => finding.check === check);
  if (one === undefined) throw new Error(`no check ${check} among ${findings.map((each) => each.check).join(', ')}`);
  return one;
}

it('is content with partitions that fit, and logs in nowhere', async () => {
  expect(await found('lunacm of main')).toMatchObject({ ok: true, detail: expect.stringContaining('2 slots') });
  expect(await found(COPIES())).toMatchObject({ ok: true, detail: expect.stringContaining('rules fit') });
  expect(luna.typed.filter((line) => !/^(slot|partition show|role show|hsm show|exit)/.test(line))).toEqual([]);
});

it('names a policy that keeps keys from leaving', async () => {
  luna.change(source.serial, { policies: { 0: 0, 1: 1, 4: 1, 22: 1, 42: 0 } });
  expect(await found(COPIES())).toMatchObject({ ok: false, code: 'LUNA_REFUSED' });
});

it('names a source that its client does not see, or that has another label', async () => {
  luna.change(source.serial, { label: 'other' });
  expect(await found(COPIES())).toMatchObject({ ok: false, code: 'PARTITION_NOT_FOUND' });
  luna.change(source.serial, { isReachable: false, label: 'par0' });
  expect(await found(COPIES())).toMatchObject({ ok: false, code: 'PARTITION_NOT_FOUND' });
});

it('names an own partition that lacks its slot, a tool that is not there, and a PIN file that others can read', async () => {
  const elsewhere = text.replace('domain: payments,', 'domain: payments, label: other,');
  expect(await found('lunacm of main', elsewhere)).toMatchObject({ ok: false, code: 'PARTITION_NOT_FOUND' });
  const toolless = text.replace(/lunacm: .*$/m, 'lunacm: no/such/tool');
  expect(await found('lunacm of main', toolless)).toMatchObject({ ok: false, code: 'PROGRAM_MISSING' });
  chmodSync(source.token.config.pinFile, 0o644);
  const pins = await found(`PIN file of ${bare(source.serial)} for main`);
  expect(pins).toMatchObject({ ok: false, code: 'PIN_FILE_EXPOSED' });
  expect(JSON.stringify(pins)).not.toContain(readFileSync(source.token.config.pinFile, 'utf8').trim());
});
