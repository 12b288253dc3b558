import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { approvalDigest, RecordedApprovalSchema } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { readApprovalFile, submitApprovals } from '../../approvals/approval-file.ts';
import { parseKeyUri } from '../../approvals/key-uri.ts';
import { EXIT } from '../../exit-codes.ts';
import { main } from '../../main.ts';
import { approvalTable } from './submit.ts';

const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-approve-'));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

const written = { stdout: '', stderr: '' };
beforeEach(() => {
  for (const stream of ['stdout', 'stderr'] as const) {
    written[stream] = '';
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    });
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

async function antipode(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  process.exitCode = undefined;
  [written.stdout, written.stderr] = ['', ''];
  await main(argv);
  return { code: Number(process.exitCode ?? 0), ...written };
}

const pem = (key: KeyObject, more: object = {}): string =>
  key.export({ format: 'pem', type: 'pkcs8', ...more } as never).toString();
const NAMES = ['alice', 'bob', 'carol', 'dave'];
const keyOf = (name: string): string => at(`${name}.pem`);

beforeAll(() => {
  for (const name of NAMES) writeFileSync(keyOf(name), pem(generateKeyPairSync('ed25519').privateKey), { mode: 0o600 });
});

/** A configuration of the agent that trusts the operators. */
async function agentYaml(): Promise<string> {
  const lines: string[] = [];
  for (const name of NAMES) {
    const { stdout } = await antipode('approve', 'public-key', '--key', keyOf(name));
    lines.push(`    - { name: ${name}, key: ${stdout.trim()} }`);
  }
  const file = at('agent.yaml');
  writeFileSync(
    file,
    `site: b
listen: localhost:0
coordinator: { id: main, address: localhost:1 }
tls: { ca: ca, certificate: crt, key: key }
dataFolder: data
partitions: [{ name: main, module: m.so, tokenLabel: t, pinFile: pin }]
approvals:
  required: 2
  operators:
${lines.join('\n')}
`,
  );
  return file;
}

const REQUEST = [
  ...['approve', 'request', 'failover', 'payments', '--partition', 'b=b-1', '--partition', 'c=c-1'],
  ...['--epochs', '4-6', '--loses', '1', '--without-hearing', 'a', '--hours', '12', '--reason', 'night of the move'],
];
const asked = (out: string, ...more: string[]) =>
  antipode(...REQUEST, '--as', 'alice', '--key', keyOf('alice'), '--out', out, ...more);
const signed = (file: string, name: string) =>
  antipode('approve', 'sign', file, '--as', name, '--key', keyOf(name), '--yes');

describe('an approval', () => {
  it('is requested, read, signed and judged without any connection', async () => {
    const [file, config] = [at('night.json'), await agentYaml()];
    const verify = () => antipode('approve', 'verify', file, '--config', config);
    expect((await asked(file)).code).toBe(EXIT.ok);
    const shown = (await antipode('approve', 'show', file)).stdout;
    for (const part of [
      'b-1 of site b',
      'c-1 of site c',
      'epochs 4 to 6',
      'At most 1',
      'silent: a',
      'night of the move',
    ])
      expect(shown).toContain(part);
    expect(await verify()).toMatchObject({ code: EXIT.operatorNeeded });
    const { stderr } = await signed(file, 'bob');
    // The text comes before the signature.
    expect(stderr).toContain('Make one of these the active member of group payments');
    expect((await verify()).stderr).toContain('APPROVAL_INSUFFICIENT');
    await signed(file, 'bob');
    await signed(file, 'alice');
    expect((await verify()).stderr).toContain('APPROVAL_INSUFFICIENT');
    await signed(file, 'carol');
    expect(await verify()).toMatchObject({ code: EXIT.ok, stdout: expect.stringContaining('bob, carol') });
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('"losesAtMost": 1', '"losesAtMost": 9'));
    expect(await verify()).toMatchObject({ code: EXIT.verificationFailed });
  });

  it('is not written over another file, and needs the epochs in which it holds', async () => {
    const file = at('once.json');
    await asked(file);
    expect((await asked(file)).stderr).toContain('FILE_EXISTS');
    const without = REQUEST.filter((word) => word !== '--epochs' && word !== '4-6');
    const refused = await antipode(...without, '--as', 'alice', '--key', keyOf('alice'), '--out', at('x.json'));
    expect([refused.code, existsSync(at('x.json'))]).toEqual([EXIT.usage, false]);
  });

  it('of an enrolment names identities, and holds in any epoch where nothing else is said', async () => {
    const file = at('enrol.json');
    const identity = 'ab'.repeat(32);
    await antipode(
      ...['approve', 'request', 'enrol', 'payments', '--partition', `d=d-1=${identity}`],
      ...['--scratch-partition', `d=d-2=${identity}`, '--as', 'alice', '--key', keyOf('alice')],
      ...['--reason', 'site d joins', '--out', file],
    );
    expect(readApprovalFile(file).parsed).toMatchObject({
      action: 'enrol',
      partitions: [
        { site: 'd', serial: 'd-1', role: 'member', identity },
        { site: 'd', serial: 'd-2', role: 'scratch', identity },
      ],
      epochs: { from: 1, to: Number.MAX_SAFE_INTEGER },
    });
    expect((await antipode('approve', 'show', file)).stdout).toContain('every later one');
  });

  it('is brought to the coordinator by the command that needs it', async () => {
    const file = at('submitted.json');
    await asked(file);
    await signed(file, 'bob');
    const submitted: unknown[] = [];
    await submitApprovals({ submitApproval: async (given) => void submitted.push(given) as never }, [file]);
    const { request, signatures } = readApprovalFile(file);
    expect(submitted).toEqual([{ approval: { request, signatures } }]);
  });

  it('is refused when the file is none', async () => {
    const file = at('none.json');
    expect((await antipode('approve', 'show', file)).stderr).toContain('FILE_UNWRITABLE');
    writeFileSync(file, '{}');
    expect((await antipode('approve', 'show', file)).stderr).toContain('APPROVAL_INVALID');
  });
});

describe('a key', () => {
  const use = (key: string, ...more: string[]) => antipode('approve', 'public-key', '--key', key, ...more);

  it('in a file is of P-256 too, and may be encrypted', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(at('p256.pem'), pem(privateKey), { mode: 0o600 });
    expect((await use(at('p256.pem'))).code).toBe(EXIT.ok);
    writeFileSync(at('locked.pem'), pem(privateKey, { cipher: 'aes-256-cbc', passphrase: 'words' }), { mode: 0o600 });
    writeFileSync(at('words'), 'words\n', { mode: 0o600 });
    expect((await use(at('locked.pem'), '--pin-file', at('words'))).stdout).toBe((await use(at('p256.pem'))).stdout);
    const refused = await use(at('locked.pem'));
    expect(refused.stderr).toContain('APPROVAL_INVALID');
    expect(refused.stderr).not.toContain('words');
  });

  it('is refused where others can read it, where it is missing, and where it is of another kind', async () => {
    chmodSync(keyOf('dave'), 0o644);
    expect((await use(keyOf('dave'))).stderr).toContain('FILE_UNWRITABLE');
    chmodSync(keyOf('dave'), 0o600);
    expect((await use(at('missing.pem'))).stderr).toContain('FILE_UNWRITABLE');
    writeFileSync(at('rsa.pem'), pem(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey), { mode: 0o600 });
    expect((await use(at('rsa.pem'))).stderr).toContain('APPROVAL_INVALID');
    expect(statSync(keyOf('dave')).mode & 0o777).toBe(0o600);
  });

  it('in a token is named by a URI, without a PIN', () => {
    const uri = 'pkcs11:token=my%20token;serial=1f;object=approvals;id=%01%ff?module-path=/usr/lib/m.so';
    expect(parseKeyUri(uri)).toEqual({
      module: '/usr/lib/m.so',
      tokenLabel: 'my token',
      serial: '1f',
      label: 'approvals',
      id: Uint8Array.of(1, 0xff),
    });
    for (const bad of [
      'pkcs11:object=a?module-path=/m.so',
      'pkcs11:token=t;object=a',
      'pkcs11:token=t?module-path=/m.so',
      'pkcs11:token=t;object=a?module-path=/m.so&pin-value=1234',
      'pkcs11:token=t;object=a?module-path=/m.so&pin-source=file:/pin',
    ]) {
      const error = thrown(() => parseKeyUri(bad));
      expect([error.code, error.message.includes('1234')]).toEqual(['USAGE', false]);
    }
  });
});

it('the list names who asked, who counts, and where it was used', () => {
  const { request, signatures } = new SomeOperators().sign(someRequest());
  const approval = { request, signatures: [...signatures] };
  const use = { action: 'failover', usedMs: 0n };
  const shown = (uses: object[]) =>
    approvalTable([create(RecordedApprovalSchema, { approval, digest: approvalDigest(request), uses })], 9e12);
  expect(shown([{ site: 'b', use }])).toMatch(/failover +payments +alice +bob carol .*\(expired\) +b 1970/);
  expect(shown([])).toMatch(/ -$/m);
  expect(approvalTable([], 0)).toBe('none');
});
