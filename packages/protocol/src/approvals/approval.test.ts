import { generateKeyPairSync } from 'node:crypto';
import { type AntipodeError, canonicalJson } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SomeOperators, someRequest } from '../testing/some-approvals.ts';
import { APPROVAL_SKEW_MS, approvalFileText, approvalFromFileText, verifyApproval } from './approval.ts';
import { type ApprovalRequest, approvalBytes, parseApprovalBytes } from './approval-request.ts';
import { approvalText } from './approval-text.ts';
import { isSignedByOperator, operatorKeyFrom, operatorKeyText, signAsOperator } from './operator-keys.ts';

const operators = new SomeOperators();
const { policy } = operators;
const NOW = 60_000;
const NO_LIMITS = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
const request = someRequest();
const verified = (of = request, names = ['alice', 'bob', 'carol'], nowMs = NOW) =>
  verifyApproval(operators.sign(of, names), policy, nowMs);
const codeOf = (work: () => unknown): string => (thrown(work) as AntipodeError).code;
const bytesOf = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(canonicalJson(value)));

describe('an approval', () => {
  it('counts the operators that have signed, without the requester', () => {
    expect(verified()).toMatchObject({ request, approvedBy: ['bob', 'carol'] });
    expect(verified(request, ['dave', 'carol', 'bob', 'alice']).approvedBy).toEqual(['bob', 'carol', 'dave']);
  });

  it.each([
    ['one too few', ['alice', 'bob']],
    ['the requester twice', ['alice', 'alice', 'bob']],
    ['one operator twice', ['alice', 'bob', 'bob']],
    ['no requester', ['bob', 'carol']],
    ['nobody', []],
  ])('is insufficient with %s', (_what, names) => {
    expect(codeOf(() => verified(request, names))).toBe('APPROVAL_INSUFFICIENT');
  });

  it('needs what it asks for itself, if that is more than the site requires', () => {
    const more = someRequest({ required: 3 });
    expect(codeOf(() => verified(more))).toBe('APPROVAL_INSUFFICIENT');
    expect(verified(more, ['alice', 'bob', 'carol', 'dave']).approvedBy).toHaveLength(3);
    expect(codeOf(() => verified(someRequest({ required: 1 }), ['alice', 'bob']))).toBe('APPROVAL_INSUFFICIENT');
  });

  it('needs more signatures to break the glass', () => {
    const broken = someRequest({ action: 'break-glass', limits: NO_LIMITS });
    expect(codeOf(() => verified(broken))).toBe('APPROVAL_INSUFFICIENT');
    expect(verified(broken, ['alice', 'bob', 'carol', 'dave']).approvedBy).toHaveLength(3);
  });

  it('does not count an operator whom the site does not know, and refuses a signature by another key', () => {
    const { request: bytes, signatures } = operators.sign(request, ['alice', 'bob']);
    const stranger = { operator: 'eve', signature: new Uint8Array(64) };
    const other = operators.signature(bytes, 'carol', 'bob');
    const with_ = (one: typeof other) =>
      codeOf(() => verifyApproval({ request: bytes, signatures: [...signatures, one] }, policy, NOW));
    expect(with_(stranger)).toBe('APPROVAL_INSUFFICIENT');
    expect(with_(other)).toBe('APPROVAL_INVALID');
    expect(with_({ operator: 'carol', signature: new Uint8Array(63) })).toBe('APPROVAL_INVALID');
  });

  it('counts although somebody has added wrong signatures, before or after the right ones', () => {
    const { request: bytes, signatures } = operators.sign(request);
    const wrong = ['alice', 'bob', 'dave'].map((name) => ({ operator: name, signature: new Uint8Array(64) }));
    for (const all of [
      [...wrong, ...signatures],
      [...signatures, ...wrong],
    ])
      expect(verifyApproval({ request: bytes, signatures: all }, policy, NOW).approvedBy).toEqual(['bob', 'carol']);
  });

  it('counts one key once, under whatever names a site has it', () => {
    const [alice, bob] = policy.operators;
    const twice = { ...policy, operators: [alice!, bob!, { name: 'carol', key: bob!.key }] };
    const bytes = approvalBytes(request);
    const signatures = [
      operators.signature(bytes, 'alice'),
      operators.signature(bytes, 'bob'),
      operators.signature(bytes, 'carol', 'bob'),
    ];
    expect(codeOf(() => verifyApproval({ request: bytes, signatures }, twice, NOW))).toBe('APPROVAL_INSUFFICIENT');
  });

  it('counts between its dates, and within the tolerance around them', () => {
    const startMs = Date.parse('2026-11-28T00:00:00.000Z');
    const dated = someRequest({}, startMs);
    const endMs = startMs + 3_600_000;
    const at = (nowMs: number) => () => verified(dated, undefined, nowMs);
    for (const nowMs of [startMs - APPROVAL_SKEW_MS, endMs + APPROVAL_SKEW_MS - 1])
      expect(at(nowMs)().approvedBy).toHaveLength(2);
    for (const nowMs of [startMs - APPROVAL_SKEW_MS - 1, endMs + APPROVAL_SKEW_MS])
      expect(codeOf(at(nowMs))).toBe('APPROVAL_EXPIRED');
    const long = someRequest({ expires: new Date(32 * 86_400_000).toISOString() });
    expect(codeOf(() => verified(long))).toBe('APPROVAL_INVALID');
  });

  it('takes keys of P-256 too, and no others', () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = operatorKeyFrom(operatorKeyText(pair.publicKey))!;
    const bytes = Buffer.from('some bytes');
    const signature = signAsOperator(pair.privateKey, bytes);
    expect(isSignedByOperator({ key }, { bytes, signature })).toBe(true);
    expect(isSignedByOperator({ key }, { bytes: Buffer.from('others'), signature })).toBe(false);
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    expect(operatorKeyFrom(operatorKeyText(rsa.publicKey))).toBeUndefined();
    expect(codeOf(() => signAsOperator(rsa.privateKey, bytes))).toBe('APPROVAL_INVALID');
    expect(operatorKeyFrom('nothing')).toBeUndefined();
    const pem = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString();
    expect(operatorKeyText(operatorKeyFrom(pem)!)).toBe(operatorKeyText(pair.publicKey));
  });
});

describe('the signed bytes', () => {
  it('have one form for one request', () => {
    const bytes = approvalBytes(request);
    expect(parseApprovalBytes(bytes)).toEqual(request);
    const text = Buffer.from(bytes).toString();
    const others = [
      JSON.stringify(request, null, 1),
      `${text} `,
      text.replace('{"action"', '{"action":"enrol","action"'),
      text.replace('"required":2', '"required":2.0'),
      text.replace('"reason":"p', '"reason":"\\u0070'),
      `\ufeff${text}`,
      text.slice(0, -1),
    ];
    for (const other of others) expect(codeOf(() => parseApprovalBytes(Buffer.from(other)))).toBe('APPROVAL_INVALID');
    expect(codeOf(() => parseApprovalBytes(Buffer.alloc(200_000, ' ')))).toBe('APPROVAL_INVALID');
  });

  it('are not accepted with a field changed, added or left out', () => {
    const { signatures } = operators.sign(request);
    const changed = (value: unknown) =>
      codeOf(() => verifyApproval({ request: bytesOf(value), signatures }, policy, NOW));
    const leaves = leavesOf(request);
    fc.assert(
      fc.property(fc.constantFrom(...leaves), fc.jsonValue({ maxDepth: 1 }), (path, value) => {
        fc.pre(canonicalJson(valueAt(request, path)) !== canonicalJson(value));
        expect(changed(changedAt(request, path, value))).toBe('APPROVAL_INVALID');
      }),
    );
    for (const path of leaves) {
      expect(changed(changedAt(request, path, undefined))).toBe('APPROVAL_INVALID');
      for (const value of nearby(valueAt(request, path)))
        expect(changed(changedAt(request, path, value))).toBe('APPROVAL_INVALID');
    }
    expect(changed({ ...request, more: 1 })).toBe('APPROVAL_INVALID');
  });

  it.each<[string, Partial<ApprovalRequest>]>([
    ['limits outside of a failover', { action: 'release' }],
    ['objects outside of a restore', { objects: ['ab'] }],
    ['a restore of nothing', { action: 'restore', limits: NO_LIMITS }],
    ['two vaults at once', { action: 'prepare-vault', limits: NO_LIMITS, objects: ['aa', 'bb'] }],
    ['a backup that no digest names', { action: 'restore-backup', limits: NO_LIMITS }],
    ['an enrolment without identities', { action: 'enrol' }],
    ['no partition', { partitions: [] }],
    ['a partition twice', { partitions: [request.partitions[0]!, request.partitions[0]!] }],
    ['an end before its beginning', { expires: request.notBefore }],
    ['epochs that end before they begin', { epochs: { from: 3, to: 2 } }],
    ['characters that do not show', { reason: 'a\u202eb' }],
    ['no reason', { reason: '' }],
    ['a local time', { expires: '2026-11-28T00:00:00+01:00' }],
    ['nobody who must sign', { required: 0 }],
  ])('are refused with %s', (_what, changes) => {
    expect(codeOf(() => parseApprovalBytes(approvalBytes(someRequest(changes))))).toBe('APPROVAL_INVALID');
  });
});

describe('the file', () => {
  it('gives back what was written, in any layout', () => {
    const signed = operators.sign(request);
    const text = approvalFileText(request, signed.signatures);
    expect(approvalFromFileText(text)).toEqual({ ...signed, parsed: request });
    expect(approvalFromFileText(JSON.stringify(JSON.parse(text)))).toEqual({ ...signed, parsed: request });
    for (const bad of ['', '[]', 'null', '{"request":{}}', JSON.stringify({ request, signatures: [1] })])
      expect(codeOf(() => approvalFromFileText(bad))).toBe('APPROVAL_INVALID');
  });
});

describe('the text for people', () => {
  it('has every value that is signed', () => {
    const text = approvalText(request).join('\n');
    for (const path of leavesOf(request)) {
      const value = String(valueAt(request, path));
      const isWord =
        ['format', 'action', 'identity'].includes(String(path.at(-1))) || path.at(-1) === 'keepsGeneration';
      if (!isWord) expect(text).toContain(value);
    }
    expect(approvalText(someRequest({ epochs: { from: 3, to: Number.MAX_SAFE_INTEGER } })).join()).toContain('later');
    const [device, backup] = (['prepare-vault', 'restore-backup'] as const).map((action) =>
      approvalText(someRequest({ action, limits: NO_LIMITS, objects: ['0d0e'] })).join(),
    );
    expect(device).toMatch(/^Initialise a Backup HSM .* 0d0e/);
    expect(backup).toMatch(/^Bring all objects of a backup .* 0d0e/);
    for (const text of [device, backup]) expect(text).not.toContain('Put');
  });
});

type Path = readonly (string | number)[];

/** The places of all values that hold no others. */
function leavesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([name, member]) => leavesOf(member, [...path, name]));
}

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((one, name) => (one as Record<string, unknown>)[name], value);

function changedAt(value: unknown, path: Path, by: unknown): unknown {
  const copy = structuredClone(value);
  const parent = valueAt(copy, path.slice(0, -1)) as Record<string, unknown>;
  if (by === undefined) delete parent[String(path.at(-1))];
  else parent[String(path.at(-1))] = by;
  return copy;
}

/** Values of the same kind that are valid in most places. */
function nearby(value: unknown): unknown[] {
  if (typeof value === 'number') return [value + 1, value === 0 ? 2 : value - 1];
  const text = String(value);
  return [`${text}1`, text.slice(0, -1), text.replace(/.$/, (last) => (last === 'c' ? 'b' : 'c')), 'b', 'enrol'].filter(
    (other) => other !== text,
  );
}
