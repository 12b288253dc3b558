import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AntipodeError, Log, temporaryBase } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Authority,
  createAuthority,
  createIssuer,
  describeCertificate,
  issueCertificate,
  issuedMs,
  readRequest,
  requestCertificate,
  signRequest,
} from '../certificates/certificates.ts';
import { RevocationService } from '../gen/antipode/v1/revocation_pb.ts';
import type { Handlers } from '../server.ts';
import { SomeOperators, someRevocation, someRevocations } from '../testing/some-approvals.ts';
import { RevocationBook } from './revocation-book.ts';
import { exchangeRevocations } from './revocation-exchange.ts';
import { revocationHandlers, signedListMessage } from './revocation-handlers.ts';

const operators = new SomeOperators();
const trustDomain = 'test.example';
const folder = mkdtempSync(join(temporaryBase(), 'revocations-'));
afterAll(() => rmSync(folder, { recursive: true }));
let file: string;
let books = 0;
beforeEach(() => {
  books += 1;
  file = join(folder, `${books}.json`);
});
const open = (at = file, rules: 'of the operators' | 'none' | 'of nobody' = 'of the operators', log?: Log) =>
  new RevocationBook({
    file: at,
    trustDomain,
    ...(log === undefined ? {} : { log }),
    rules:
      rules === 'none' ? undefined : rules === 'of nobody' ? { required: 1, operators: [] } : operators.revocationRules,
  });
const codeOf = (work: () => unknown): string => (thrown(work) as AntipodeError).code;
const first = someRevocations();
const second = someRevocations([], first);

describe('the list in force', () => {
  it('is durable before anybody hears of it, and is there after a restart', () => {
    const book = open();
    const heard: boolean[] = [];
    book.onChange(() => heard.push(existsSync(file)));
    expect([book.version, book.take(operators.signRevocations(first))]).toEqual([0, true]);
    expect(heard).toEqual([true]);
    expect(open()).toMatchObject({ version: 1, entries: first.entries });
  });

  it('is in force on a full disk too, and says so until it is durable', () => {
    const book = open();
    mkdirSync(join(file, 'in the way'), { recursive: true });
    expect([book.take(operators.signRevocations(first)), book.version, book.entries]).toEqual([true, 1, first.entries]);
    expect(book.problem).toContain('version 1 of the list is in force and not durable');
    book.saveAgain();
    expect(book.problem).not.toBe('');
    rmSync(file, { recursive: true });
    book.saveAgain();
    expect(book.problem).toBe('');
    expect(open()).toMatchObject({ version: 1, entries: first.entries });
  });

  it('does not go over a newer one in the file when it is durable at last', () => {
    const book = open();
    mkdirSync(join(file, 'in the way'), { recursive: true });
    book.take(operators.signRevocations(first));
    rmSync(file, { recursive: true });
    open().take(operators.signRevocations(second));
    book.look();
    expect([book.version, book.problem, open().version]).toEqual([2, '', 2]);
  });

  it('is replaced by a higher version only, whatever is offered', () => {
    const book = open();
    book.take(operators.signRevocations(second));
    expect(codeOf(() => book.take(operators.signRevocations(first)))).toBe('REVOCATION_LIST_OLD');
    expect(book.take(operators.signRevocations(second))).toBe(false);
    const other = someRevocations([someRevocation({ reason: 'another list' })], first);
    expect(codeOf(() => book.take(operators.signRevocations(other)))).toBe('REVOCATION_LIST_OLD');
    expect(book.problem).toContain('two lists with version 2');
    expect([book.version, book.entries]).toEqual([2, []]);
    // Whichever of the two a process has, the next version ends the difference.
    expect(book.take(operators.signRevocations(someRevocations([], other)))).toBe(true);
    expect([book.version, book.problem]).toEqual([3, '']);
  });

  it('tells of one other list of its version, once', () => {
    const lines: string[] = [];
    const log = new Log({ level: 'warn', format: 'json', write: (line) => void lines.push(line) });
    const book = open(file, 'of the operators', log);
    book.take(operators.signRevocations(first));
    lines.splice(0);
    for (const reason of ['one', 'two']) {
      const other = someRevocations([someRevocation({ reason })]);
      expect(codeOf(() => book.take(operators.signRevocations(other)))).toBe('REVOCATION_LIST_OLD');
    }
    expect([book.problem.includes('two lists with version 1'), lines.length]).toEqual([true, 1]);
  });

  it('is followed, where a person brings a list, by one that was made from it', () => {
    const book = open();
    book.take(operators.signRevocations(first));
    const lost = someRevocations([], someRevocations([]));
    expect(codeOf(() => book.take(operators.signRevocations(lost), { follows: true }))).toBe('REVOCATION_LIST_OLD');
    expect(book.take(operators.signRevocations(second), { follows: true })).toBe(true);
  });

  it('is none without rules, of another trust domain, or without signatures that count', () => {
    const signed = operators.signRevocations(first);
    expect(codeOf(() => open(file, 'none').take(signed))).toBe('REVOCATION_RULES_MISSING');
    expect(codeOf(() => open().take(operators.signRevocations(first, ['alice'])))).toBe('REVOCATION_LIST_UNSIGNED');
    const elsewhere = someRevocations([], undefined, { trustDomain: 'other.example' });
    expect(codeOf(() => open().take(operators.signRevocations(elsewhere)))).toBe('REVOCATION_LIST_INVALID');
    expect(existsSync(file)).toBe(false);
  });

  it('holds after the operators who signed it have left', () => {
    open().take(operators.signRevocations(first));
    expect(open(file, 'of nobody').version).toBe(1);
    expect(open(file, 'none').version).toBe(1);
  });

  it('cannot be guessed from a damaged file', () => {
    writeFileSync(file, '{"request":');
    expect(thrown(() => open())).toMatchObject({ code: 'REVOCATION_LIST_INVALID', details: { path: file } });
  });

  it('is taken from its file when a command has put a newer one there, and never an older one', () => {
    const book = open();
    const beside = open();
    beside.take(operators.signRevocations(second));
    book.look();
    expect(book.version).toBe(2);
    const newer = readFileSync(file);
    rmSync(file);
    open().take(operators.signRevocations(first));
    book.look();
    expect(book.version).toBe(2);
    writeFileSync(file, newer);
  });
});

describe('a certificate', () => {
  const nowMs = Date.parse('2026-03-01T12:00:00.000Z');
  const identity = { trustDomain, kind: 'site', name: 'b' } as const;
  let authority: Authority;
  const issue = async (atMs: number, from: Authority = authority, of = identity) =>
    new X509Certificate(
      (await issueCertificate({ authority: from, identity: of, validDays: 90, nowMs: atMs })).certificatePem,
    );
  const renewed = async (old: X509Certificate, atMs: number) => {
    const { requestPem } = await requestCertificate(identity);
    const issued = { authority, validDays: 90, nowMs: atMs, issuedMs: issuedMs(old) };
    return new X509Certificate(await signRequest(issued, await readRequest(requestPem)));
  };
  const bookWith = (...entries: Parameters<typeof someRevocations>[0] & object) => {
    const book = open();
    book.take(operators.signRevocations(someRevocations(entries)));
    return book;
  };
  const before = someRevocation({ issuedBefore: new Date(nowMs).toISOString() });
  beforeAll(async () => {
    authority = await createAuthority({ trustDomain, validDays: 365, nowMs: nowMs - 86_400_000 });
  });

  it('is revoked by its identity if it was issued before the moment, and not from then on', async () => {
    const book = bookWith(before);
    expect(book.revocationOf(await issue(nowMs - 1))).toEqual(before);
    expect(book.revocationOf(await issue(nowMs))).toBeUndefined();
    expect(book.revocationOf(await issue(nowMs - 1, authority, { ...identity, name: 'c' } as never))).toBeUndefined();
    expect(book.refusalOf(await issue(nowMs - 1))).toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  });

  it('stays revoked when its thief renews it, however often and however late', async () => {
    const book = bookWith(before);
    const stolen = await issue(nowMs - 3_600_000);
    const once = await renewed(stolen, nowMs + 60_000);
    const twice = await renewed(once, nowMs + 120_000);
    expect([once, twice].map((one) => book.revocationOf(one))).toEqual([before, before]);
    const anew = await renewed(await issue(nowMs + 5), nowMs + 120_000);
    expect(book.revocationOf(anew)).toBeUndefined();
  });

  it('does not make itself younger than its beginning', async () => {
    const late = new X509Certificate(
      (
        await issueCertificate({
          authority,
          identity,
          validDays: 90,
          nowMs: nowMs - 3_600_000,
          issuedMs: nowMs + 3_600_000,
        })
      ).certificatePem,
    );
    expect(issuedMs(late)).toBe(nowMs - 3_600_000 + 999);
    expect(issuedMs({ subject: 'CN=site b', validFromDate: new Date(nowMs) })).toBe(nowMs);
  });

  it('is revoked by its digest, whoever has its name', async () => {
    const [stolen, other] = [await issue(nowMs), await issue(nowMs)];
    const { fingerprint } = describeCertificate(stolen.toString());
    const book = bookWith(someRevocation({ kind: 'certificate', subject: fingerprint, issuedBefore: '' }));
    expect([book.revocationOf(stolen)?.subject, book.revocationOf(other)]).toEqual([fingerprint, undefined]);
  });

  it('is revoked by the key of its issuer, whatever chain its holder shows', async () => {
    const issuer = await createIssuer({ authority, name: 'main', validDays: 90, nowMs });
    const key = new X509Certificate(issuer.certificatePem).publicKey.export({ format: 'der', type: 'spki' });
    const book = bookWith(
      someRevocation({ kind: 'issuer', subject: key.toString('base64'), issuedBefore: '', name: 'issuer main' }),
    );
    expect(book.revocationOf(await issue(nowMs, issuer))?.name).toBe('issuer main');
    expect(book.revocationOf(await issue(nowMs))).toBeUndefined();
  });

  it('counts again when the next version is without its entry', async () => {
    const book = bookWith(before);
    book.take(operators.signRevocations(someRevocations([], book.held!.list)));
    expect(book.revocationOf(await issue(nowMs - 1))).toBeUndefined();
  });

  it('of an operator is revoked with every role', async () => {
    const book = bookWith(someRevocation({ ...before, name: `spiffe://${trustDomain}/operator/olga` }));
    for (const role of [undefined, 'viewer', 'security'] as const) {
      const of = { trustDomain, kind: 'operator', name: 'olga', ...(role === undefined ? {} : { role }) };
      expect(book.revocationOf(await issue(nowMs - 1, authority, of as never))).toBeDefined();
    }
  });
});

/** Handlers as their caller sees them, with messages in between. */
function clientOf(handlers: Handlers<typeof RevocationService>) {
  const { exchangeRevocations: asked, submitRevocations: brought } = RevocationService.method;
  const context = { identity: { trustDomain, kind: 'site', name: 'a' }, signal: new AbortController().signal } as const;
  return {
    exchangeRevocations: async (request: MessageInitShape<typeof asked.input>) =>
      create(asked.output, await handlers.exchangeRevocations(create(asked.input, request), context)),
    submitRevocations: async (request: MessageInitShape<typeof brought.input>) =>
      create(brought.output, await handlers.submitRevocations(create(brought.input, request), context)),
  };
}

describe('two processes that compare their lists', () => {
  const served = (book: RevocationBook) =>
    clientOf(revocationHandlers({ book, process: 'site/b', ownRefusal: () => undefined }));
  const options = { timeoutMs: 1_000, signal: new AbortController().signal };

  it('end with the newer one, whoever asks', async () => {
    const [one, other] = [open(join(folder, 'one.json')), open(join(folder, 'other.json'))];
    one.take(operators.signRevocations(first));
    expect(await exchangeRevocations(one, served(other), options)).toEqual({ theirs: 1, isBehind: false });
    other.take(operators.signRevocations(second));
    expect(await exchangeRevocations(one, served(other), options)).toEqual({ theirs: 2, isBehind: false });
    expect([one.version, other.version]).toEqual([2, 2]);
  });

  it('leave a process without rules alone', async () => {
    const [one, other] = [open(), open(join(folder, 'none.json'), 'none')];
    one.take(operators.signRevocations(first));
    expect(await exchangeRevocations(one, served(other), options)).toEqual({ theirs: 0, isBehind: false });
    expect(await exchangeRevocations(other, served(one), options)).toMatchObject({ theirs: 1 });
    expect(other.version).toBe(0);
  });

  it('notice that one keeps an older list, and that one has another list of the same version', async () => {
    const [one, other] = [open(), open(join(folder, 'stuck.json'))];
    one.take(operators.signRevocations(second));
    const stuck = { exchangeRevocations: async () => ({ state: { version: 1, hasRules: true, digest: 'x' } }) };
    expect(await exchangeRevocations(one, stuck as never, options)).toEqual({ theirs: 1, isBehind: true });
    other.take(operators.signRevocations(someRevocations([someRevocation()], first)));
    const fork = exchangeRevocations(one, served(other), options);
    expect(await rejection(fork)).toMatchObject({ code: 'REVOCATION_LIST_OLD' });
    expect([one.problem, other.problem].map((text) => text.includes('two lists'))).toEqual([true, true]);
  });

  it('believe no word about another list of their version', async () => {
    const book = open();
    book.take(operators.signRevocations(first));
    const claim = { version: 1, hasRules: true, digest: 'ab'.repeat(32) };
    const other = someRevocations([someRevocation({ reason: 'another list' })]);
    const forged = signedListMessage(operators.signRevocations(other, ['alice']));
    const liars = [{ state: claim }, { state: claim, list: forged }];
    await exchangeRevocations(book, { exchangeRevocations: async () => liars[0] } as never, options);
    const asking = exchangeRevocations(book, { exchangeRevocations: async () => liars[1] } as never, options);
    expect((await rejection(asking)).code).toBe('REVOCATION_LIST_UNSIGNED');
    // As a caller, it gets the list that is in force, and proves nothing by its own.
    expect((await served(book).exchangeRevocations({ state: claim })).list).toBeDefined();
    const bringing = served(book).exchangeRevocations({ state: claim, list: forged });
    expect((await rejection(bringing)).code).toBe('REVOCATION_LIST_UNSIGNED');
    expect(book.problem).toBe('');
  });

  it('refuse a list that its operators have not signed', async () => {
    const book = open();
    const forged = signedListMessage(operators.signRevocations(first, ['alice']));
    const liar = { exchangeRevocations: async () => ({ state: { version: 1, hasRules: true }, list: forged }) };
    const asking = exchangeRevocations(book, liar as never, options);
    expect(await rejection(asking)).toMatchObject({ code: 'REVOCATION_LIST_UNSIGNED' });
    const bringing = served(book).submitRevocations({ list: forged });
    expect(await rejection(bringing)).toMatchObject({ code: 'REVOCATION_LIST_UNSIGNED' });
    expect(book.version).toBe(0);
  });
});
