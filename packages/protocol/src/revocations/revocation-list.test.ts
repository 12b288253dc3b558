import { generateKeyPairSync } from 'node:crypto';
import { type AntipodeError, canonicalJson } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { SomeOperators, someRequest, someRevocation, someRevocations } from '../testing/some-approvals.ts';
import {
  isRevocationFile,
  LIST_BYTES_MAX,
  parseRevocations,
  type RevocationList,
  revocationBytes,
  revocationFileText,
  revocationsFromFileText,
  verifyRevocations,
} from './revocation-list.ts';
import { revocationListText } from './revocation-text.ts';

const operators = new SomeOperators();
const rules = operators.revocationRules;
const list = someRevocations();
const codeOf = (work: () => unknown): string => (thrown(work) as AntipodeError).code;
const verified = (of: RevocationList = list, names = ['alice', 'bob']) =>
  verifyRevocations(operators.signRevocations(of, names), rules);

describe('a list of revoked certificates', () => {
  it('counts the operators that have signed, without the one who made it', () => {
    expect(verified()).toMatchObject({ list, signedBy: ['alice', 'bob'] });
    expect(verified(list, ['dave', 'alice']).signedBy).toEqual(['alice', 'dave']);
  });

  it.each([
    ['its maker alone', ['alice']],
    ['its maker twice', ['alice', 'alice']],
    ['without its maker', ['bob', 'carol']],
    ['nobody', []],
  ])('is not signed by %s', (_what, names) => {
    expect(codeOf(() => verified(list, names))).toBe('REVOCATION_LIST_UNSIGNED');
  });

  it('does not count an unknown operator, and refuses a signature for another list or for an approval', () => {
    const signed = operators.signRevocations(list, ['alice']);
    const withOne = (one: { operator: string; signature: Uint8Array }) =>
      codeOf(() => verifyRevocations({ ...signed, signatures: [...signed.signatures, one] }, rules));
    expect(withOne({ operator: 'eve', signature: new Uint8Array(64) })).toBe('REVOCATION_LIST_UNSIGNED');
    const other = operators.signRevocations(someRevocations([]), ['bob']).signatures[0]!;
    expect(withOne(other)).toBe('REVOCATION_LIST_INVALID');
    expect(withOne(operators.sign(someRequest(), ['bob']).signatures[0]!)).toBe('REVOCATION_LIST_INVALID');
    expect(withOne(operators.signature(signed.list, 'bob'))).toBe('REVOCATION_LIST_INVALID');
  });

  it('is read in its canonical form only, and whole', () => {
    expect(parseRevocations(revocationBytes(list))).toEqual(list);
    const text = canonicalJson(list);
    for (const bytes of [` ${text}`, text.replace('{', '{ '), text.slice(1), '[]', ''])
      expect(codeOf(() => parseRevocations(Buffer.from(bytes)))).toBe('REVOCATION_LIST_INVALID');
    const long = 'x'.repeat(500);
    const many = Array.from({ length: 400 }, (_, at) =>
      someRevocation({ reason: `${long.slice(0, 496)}${at + 1000}` }),
    );
    expect(revocationBytes(someRevocations(many)).length).toBeGreaterThan(LIST_BYTES_MAX);
    expect(codeOf(() => parseRevocations(revocationBytes(someRevocations(many))))).toBe('REVOCATION_LIST_INVALID');
  });

  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'der', type: 'spki' });
  const certificate = { kind: 'certificate', subject: 'ab'.repeat(32), issuedBefore: '' } as const;
  const issuer = { kind: 'issuer', subject: key.toString('base64'), issuedBefore: '', name: 'issuer main' } as const;
  it('takes an entry for a certificate, for an identity and for an issuer', () => {
    const entries = [certificate, { ...certificate, subject: 'cd'.repeat(32), name: '' }, issuer, {}].map((one) =>
      someRevocation(one),
    );
    expect(parseRevocations(revocationBytes(someRevocations(entries))).entries).toEqual(entries);
  });

  it.each([
    ['a role in the name', someRevocation({ name: 'spiffe://test.example/operator/olga/viewer' })],
    ['a name of another trust domain', someRevocation({ name: 'spiffe://other.example/site/b' })],
    ['an identity without a moment', someRevocation({ issuedBefore: '' })],
    ['an identity with a certificate', someRevocation({ subject: 'ab'.repeat(32) })],
    ['a certificate with a moment', someRevocation({ ...certificate, issuedBefore: '2026-01-02T03:04:05.000Z' })],
    ['half a fingerprint', someRevocation({ ...certificate, subject: 'ab'.repeat(16) })],
    ['a key that is none', someRevocation({ ...issuer, subject: 'AAAA' })],
    ['no reason', someRevocation({ reason: '' })],
    ['a reason that does not show', someRevocation({ reason: 'a\u200bb' })],
    ['a time without milliseconds', someRevocation({ ends: '2026-01-02T03:04:05Z' })],
  ])('refuses an entry with %s', (_what, entry) => {
    expect(codeOf(() => parseRevocations(revocationBytes(someRevocations([entry]))))).toBe('REVOCATION_LIST_INVALID');
  });

  it.each([
    ['no version', { version: 0 }],
    ['a version that would end the list for ever', { version: 2_000_000_000, previous: 'ab'.repeat(32) }],
    ['a first version that follows another list', { previous: 'ab'.repeat(32) }],
    ['a later version that follows nothing', { version: 2 }],
    ['an entry twice', { entries: [someRevocation(), someRevocation()] }],
  ])('refuses a list with %s', (_what, changes) => {
    expect(codeOf(() => parseRevocations(revocationBytes({ ...list, ...changes })))).toBe('REVOCATION_LIST_INVALID');
  });

  it('crosses a file, which differs from that of an approval', () => {
    const signed = operators.signRevocations(list);
    const text = revocationFileText(signed);
    expect(revocationsFromFileText(text)).toMatchObject({ ...signed, parsed: list });
    expect(isRevocationFile(text)).toBe(true);
    expect([isRevocationFile('{}'), isRevocationFile('x')]).toEqual([false, false]);
    for (const wrong of ['{}', 'x', text.replace('"signatures"', '"signature"')])
      expect(codeOf(() => revocationsFromFileText(wrong))).toBe('REVOCATION_LIST_INVALID');
  });

  it('says in sentences everything that is signed', () => {
    const entries = [someRevocation(), someRevocation(certificate), someRevocation(issuer)];
    const whole = revocationListText(someRevocations(entries)).join('\n');
    for (const entry of entries)
      for (const value of [entry.subject, entry.issuedBefore, entry.name, entry.reason, entry.since, entry.ends])
        expect(whole).toContain(value);
  });
});
