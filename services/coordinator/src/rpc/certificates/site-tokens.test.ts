import 'reflect-metadata';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateSiteTokenRequestSchema,
  createAuthority,
  createIssuer,
  describeCertificate,
  ListSiteTokensRequestSchema,
  RevokeSiteTokenRequestSchema,
  requestCertificate,
  secretDigest,
} from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dropUnusedSiteTokens } from '../../store/tables/certificates/site-tokens.ts';
import { retireSiteTokens } from '../../store/tables/retention.ts';
import { testDatabase } from '../../testing/database.ts';
import { OPERATOR, OperatorBench } from '../../testing/operator-bench.ts';
import { operatorHandlers } from '../operator.ts';
import type { RpcPorts } from '../ports.ts';
import { answerJoin } from './joining.ts';
import type { IssuerFiles } from './renewals.ts';

const database = testDatabase();
const SECRET = new Uint8Array(32).fill(7);
const HOUR_MS = 3_600_000;
const FROM = '192.0.2.7 50000';
let bench: OperatorBench;
let folder: string;
let issuer: IssuerFiles;
let ports: RpcPorts;
let isLeader: boolean;

beforeEach(async () => {
  bench = new OperatorBench(database);
  ports = { ...bench.ports, joining: { port: () => 7402, hasIssuer: true } };
  isLeader = true;
  folder = mkdtempSync(join(tmpdir(), 'antipode-site-tokens-'));
  const nowMs = bench.clock.wallMs();
  const authority = await createAuthority({ trustDomain: 'example.org', validDays: 100, nowMs });
  const made = await createIssuer({ authority, name: 'main', validDays: 50, nowMs });
  issuer = { certificate: join(folder, 'issuer.crt'), key: join(folder, 'issuer.key'), days: 7 };
  writeFileSync(issuer.certificate, made.certificatePem);
  writeFileSync(issuer.key, made.keyPem);
});
afterEach(() => rmSync(folder, { recursive: true }));

const make = (site = 'b', { ttlMs = HOUR_MS, digest = secretDigest(SECRET) } = {}) =>
  operatorHandlers(ports).createSiteToken(
    create(CreateSiteTokenRequestSchema, { site, secretDigest: digest, ttlMs: BigInt(ttlMs) }),
    OPERATOR,
  );
const idOf = async (site = 'b'): Promise<string> => (await make(site)).token!.id!;
const list = async () =>
  (await operatorHandlers(ports).listSiteTokens(create(ListSiteTokensRequestSchema), OPERATOR)).tokens!;
const revoke = (id: string) =>
  operatorHandlers(ports).revokeSiteToken(create(RevokeSiteTokenRequestSchema, { id }), OPERATOR);
const requestFor = async (name: string, { kind = 'site', trustDomain = 'example.org' } = {}) =>
  (await requestCertificate({ trustDomain, kind: kind as 'site', name })).requestPem;
const enter = (
  tokenId: string,
  requestPem: string,
  {
    secret = SECRET,
    signs = true,
    ownRefusal,
  }: { secret?: Uint8Array; signs?: boolean; ownRefusal?: () => AntipodeError } = {},
) =>
  answerJoin({ tokenId, secret: Buffer.from(secret), requestPem }, FROM, {
    store: database.store,
    election: { epoch: isLeader ? bench.leadership.epoch : undefined, renewIfLapsed: async () => {} },
    clock: bench.clock,
    calendarMs: () => bench.clock.wallMs(),
    trustDomain: 'example.org',
    issuer: signs ? issuer : undefined,
    authoritiesPem: () => 'the authorities',
    ...(ownRefusal === undefined ? {} : { ownRefusal }),
    log: silentLog,
  });
const events = async () =>
  (await database.store.query((db) => db.selectFrom('event').select(['kind', 'site', 'details']).execute())).map(
    ({ kind, site, details }) => ({ kind, site, ...(JSON.parse(details) as object) }),
  );
const refusal = async (call: Promise<unknown>): Promise<[string, string]> => {
  const { code, message } = (await rejection(call)) as AntipodeError;
  return [code, message];
};

it('brings nobody in at a coordinator whose own certificate is revoked, and is not used up', async () => {
  const id = await idOf();
  const request = await requestFor('b');
  const ownRefusal = () => new AntipodeError('CERTIFICATE_REVOKED', 'it is revoked');
  expect((await refusal(enter(id, request, { ownRefusal })))[0]).toBe('CERTIFICATE_REVOKED');
  expect((await list())[0]!.state).toBe('open');
});

it('is not made for a site that operators have retired', async () => {
  bench.ports.forgotten.add({ site: 'b', operator: 'alice', atMs: 0, address: '' });
  expect((await refusal(make('b')))[0]).toBe('SITE_FORGOTTEN');
});

describe('a token of a site', () => {
  it('is on record by its digest alone, with who made it and when it ends', async () => {
    const { token, joinPort, isKnownSite } = await make('b');
    expect([joinPort, isKnownSite]).toEqual([7402, false]);
    expect(await list()).toMatchObject([{ id: token!.id, site: 'b', createdBy: 'alice', state: 'open', usedMs: 0n }]);
    expect(token!.expiresMs! - token!.createdMs!).toBe(BigInt(HOUR_MS));
    const rows = await database.store.query((db) => db.selectFrom('site_token').selectAll().execute());
    expect(JSON.stringify(rows, (_key, value) => (typeof value === 'bigint' ? String(value) : value))).not.toContain(
      Buffer.from(SECRET).toString('hex'),
    );
    expect(await events()).toMatchObject([{ kind: 'site-token-created', site: 'b', operator: 'alice' }]);
  });

  it('is not made where machines cannot join', async () => {
    ports = bench.ports;
    expect((await rejection(make())).code).toBe('JOIN_NOT_OFFERED');
  });

  it.each<[string, () => Promise<unknown>]>([
    ['a name that is none', () => make('B b')],
    ['a digest of another length', () => make('b', { digest: new Uint8Array(31) })],
    ['an end after more than a day', () => make('b', { ttlMs: 24 * HOUR_MS + 1 })],
    ['an end at once', () => make('b', { ttlMs: 59_999 })],
  ])('is refused with %s', async (_what, call) => {
    expect((await rejection(call())).code).toBe('REQUEST_INVALID');
    expect(await list()).toEqual([]);
  });

  it('is revoked once, and an unknown one is not found', async () => {
    const id = await idOf();
    await revoke(id);
    expect((await revoke(id)).token).toMatchObject({ state: 'revoked', revokedBy: 'alice' });
    expect((await events()).filter(({ kind }) => kind === 'site-token-revoked')).toHaveLength(1);
    expect((await rejection(revoke('0'.repeat(16)))).code).toBe('NOT_FOUND');
    expect((await rejection(revoke('%'))).code).toBe('REQUEST_INVALID');
  });

  it('is forgotten long after its end, and if a copy of the database comes back before its use', async () => {
    const [used, open] = [await idOf('b'), await idOf('c')];
    await enter(used, await requestFor('b'));
    await database.store.write(bench.leadership.require(), dropUnusedSiteTokens);
    expect((await list()).map(({ id }) => id)).toEqual([used]);
    expect((await refusal(enter(open, await requestFor('c'))))[0]).toBe('SITE_TOKEN_REFUSED');
    const retire = retireSiteTokens({ beforeMs: bench.clock.wallMs() + 2 * HOUR_MS });
    expect(await database.store.write(bench.leadership.require(), retire)).toBe(1);
  });
});

describe('a machine that joins', () => {
  it('gets the certificate of the site of its token, for its key', async () => {
    const id = await idOf();
    const { certificatePem, authoritiesPem } = await enter(id, await requestFor('b'));
    expect(describeCertificate(certificatePem!).identity).toEqual({
      trustDomain: 'example.org',
      kind: 'site',
      name: 'b',
    });
    expect(authoritiesPem).toBe('the authorities');
    expect(await list()).toMatchObject([{ state: 'used', usedFrom: FROM }]);
    expect((await events()).at(-1)).toMatchObject({ kind: 'site-joined', site: 'b', token: id, from: FROM });
  });

  it('may ask again with the same key until the token ends, and leaves one event', async () => {
    const [id, request] = [await idOf(), await requestFor('b')];
    await enter(id, request);
    await enter(id, request);
    expect((await events()).filter(({ kind }) => kind === 'site-joined')).toHaveLength(1);
    await bench.clock.advance(HOUR_MS);
    expect((await refusal(enter(id, request)))[0]).toBe('SITE_TOKEN_REFUSED');
  });

  it('is refused if another key has used the token, with the place of that key and an event', async () => {
    const id = await idOf();
    await enter(id, await requestFor('b'));
    const [code, message] = await refusal(enter(id, await requestFor('b')));
    expect(code).toBe('SITE_TOKEN_REFUSED');
    expect(message).toContain(FROM);
    expect((await events()).at(-1)).toMatchObject({ kind: 'site-token-refused', site: 'b' });
  });

  it('is one of two at once that gets in', async () => {
    const id = await idOf();
    const requests = [await requestFor('b'), await requestFor('b')];
    const outcomes = await Promise.allSettled(requests.map((request) => enter(id, request)));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('gets no certificate from a coordinator without an issuer, but has used the token', async () => {
    const id = await idOf();
    expect((await enter(id, await requestFor('b'), { signs: false })).certificatePem).toBe('');
    expect(await list()).toMatchObject([{ state: 'used' }]);
  });

  it.each<[string, object]>([
    ['another site', { name: 'c' }],
    ['an operator', { kind: 'operator' }],
    ['another trust domain', { trustDomain: 'example.com' }],
  ])('gets no certificate for %s, and the token stays unused', async (_what, change) => {
    const id = await idOf();
    const { name = 'b', ...options } = change as { name?: string };
    expect((await refusal(enter(id, await requestFor(name, options))))[0]).toBe('CERTIFICATE_REQUEST_INVALID');
    expect(await list()).toMatchObject([{ state: 'open' }]);
  });

  it('learns nothing without the secret: not whether there is a token, and not what became of it', async () => {
    const [open, used, revoked] = [await idOf('b'), await idOf('b'), await idOf('b')];
    await enter(used, await requestFor('b'));
    await revoke(revoked);
    const other = { secret: new Uint8Array(32) };
    const request = await requestFor('b');
    const answers: [string, string][] = [];
    for (const id of [open, used, revoked, '0'.repeat(16), '', `${open}'--`])
      answers.push(await refusal(enter(id, request, other)));
    for (const secret of [new Uint8Array(0), SECRET.slice(1), new Uint8Array(200)])
      answers.push(await refusal(enter(open, request, { secret })));
    // Nor whether its request would do.
    answers.push(await refusal(enter(open, 'no request', other)));
    expect(new Set(answers.map(String)).size).toBe(1);
    expect(answers[0]![0]).toBe('SITE_TOKEN_REFUSED');
    expect((await list()).find(({ id }) => id === open)).toMatchObject({ state: 'open' });
  });

  it('learns with the secret why the token does not count', async () => {
    const [ended, revoked] = [await idOf('b'), await idOf('b')];
    await revoke(revoked);
    const request = await requestFor('b');
    expect((await refusal(enter(revoked, request)))[1]).toContain('revoked');
    await bench.clock.advance(HOUR_MS);
    expect((await refusal(enter(ended, request)))[1]).toContain('expired');
  });

  it('asks another coordinator where this one does not lead', async () => {
    const id = await idOf();
    isLeader = false;
    expect((await refusal(enter(id, await requestFor('b'))))[0]).toBe('NOT_LEADER');
  });
});
