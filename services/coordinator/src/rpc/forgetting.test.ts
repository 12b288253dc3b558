import { ForgetSiteRequestSchema, identityUri, ReadmitSiteRequestSchema, type Revocation } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { insertSiteToken, readSiteTokens } from '../store/tables/certificates/site-tokens.ts';
import { readForgottenSites } from '../store/tables/sites/forgotten-sites.ts';
import { readSites, recordSite } from '../store/tables/sites/sites.ts';
import { testDatabase } from '../testing/database.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { OPERATOR, OperatorBench } from '../testing/operator-bench.ts';
import { placesIn } from './forgetting.ts';
import { operatorHandlers } from './operator.ts';
import type { RpcPorts } from './ports.ts';

const database = testDatabase();
let bench: OperatorBench;
let ports: RpcPorts;

const write = (name = 'd') =>
  database.rows.write((trx) => recordSite(trx, { name, address: `${name}:1`, version: '1', partitions: '[]' }));

beforeEach(async () => {
  bench = new OperatorBench(database);
  ports = bench.ports;
  await write();
});

const forget = (site = 'd', rest: object = {}) =>
  operatorHandlers(ports).forgetSite(create(ForgetSiteRequestSchema, { site, ...rest }), OPERATOR);
const readmit = (site = 'd') =>
  operatorHandlers(ports).readmitSite(create(ReadmitSiteRequestSchema, { site }), OPERATOR);
const sites = async (): Promise<string[]> => (await database.store.query(readSites)).map(({ site }) => site);
const events = async (): Promise<string[]> =>
  (await database.store.query((db) => db.selectFrom('event').select(['kind', 'site']).orderBy('id').execute()))
    .filter(({ site }) => site === 'd')
    .map(({ kind }) => kind);

it('forgets a site once, however often it is asked, and keeps who did it first', async () => {
  const first = await forget();
  await bench.clock.advance(60_000);
  const again = await forget();
  expect([first.isNew, again.isNew, again.forgottenMs === first.forgottenMs]).toEqual([true, false, true]);
  expect([await sites(), await events()]).toEqual([[], ['site-forgotten']]);
  expect((await database.store.query(readForgottenSites)).map(({ site, address }) => `${site} ${address}`)).toEqual([
    'd d:1',
  ]);
});

it('refuses the heartbeats of a forgotten site, remembers that it calls, and takes it back on order only', async () => {
  await forget();
  const from = { address: 'd:1', peer: '192.0.2.9:5' };
  const refuse = () => bench.ports.forgotten.refuse('d', from);
  expect((await rejection(Promise.resolve().then(refuse))).code).toBe('SITE_FORGOTTEN');
  await bench.clock.advance(1_000);
  expect((await rejection(Promise.resolve().then(refuse))).code).toBe('SITE_FORGOTTEN');
  expect(bench.ports.forgotten.all[0]?.calls).toMatchObject({ ...from, heartbeats: 2 });
  await bench.clock.advance(60_001);
  expect(bench.ports.forgotten.all[0]?.calls).toBeUndefined();
  expect([(await readmit()).isNew, (await readmit()).isNew]).toEqual([true, false]);
  expect(refuse).not.toThrow();
  expect(await events()).toEqual(['site-forgotten', 'site-readmitted']);
});

it('does not count a row that a heartbeat on its way, or an earlier release, has written again', async () => {
  await forget();
  await write();
  expect(await sites()).toEqual([]);
  await readmit();
  expect(await sites()).toEqual(['d']);
});

it('is not seen any more, and only says what would follow on a dry run', async () => {
  const plan = await forget('d', { planOnly: true });
  expect([plan.isNew, plan.forgottenMs ?? 0n, await sites()]).toEqual([true, 0n, ['d']]);
  expect(plan.consequences?.join('\n')).toContain('antipode site readmit d');
  bench.detector.expect([{ site: 'd', address: 'd:1' }]);
  await forget();
  expect(bench.detector.view('d')).toBeUndefined();
});

it('ends the tokens with which a machine could join as the site', async () => {
  const token = { id: '0123456789abcdef', site: 'd', secretDigest: 'ab', createdBy: 'x', createdMs: 0 };
  const expiresMs = bench.clock.wallMs() + 60_000;
  await database.rows.write((trx) => insertSiteToken(trx, { ...token, expiresMs }));
  await database.rows.write((trx) => insertSiteToken(trx, { ...token, id: 'other', site: 'b', expiresMs }));
  await forget();
  const revoked = (await database.store.query(readSiteTokens)).filter((one) => one.revoked !== undefined);
  expect(revoked.map(({ site, revoked: by }) => `${site} ${by?.by}`)).toEqual([`d ${OPERATOR.identity.name}`]);
});

describe('refuses to forget', () => {
  it('a name that nobody knows, with the names that there are', async () => {
    expect(await rejection(forget('nobody'))).toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('d'),
    });
  });

  it('what is not a name', async () => {
    expect((await rejection(forget('../d'))).code).toBe('REQUEST_INVALID');
    expect((await rejection(readmit('../d'))).code).toBe('REQUEST_INVALID');
  });

  it('a site that has a place in a group', async () => {
    await database.rows.group();
    await write('a');
    bench.cached.push(groupOf(SPEC));
    const error = await rejection(forget('a'));
    expect(error).toMatchObject({
      code: 'SITE_IN_USE',
      message: expect.stringContaining('a member of group payments'),
    });
    expect(await sites()).toContain('a');
  });

  it('any site while the records of a group cannot be read', async () => {
    ports = { ...ports, cache: { all: [], unreadable: ['odd'], refresh: async () => {} } };
    expect((await rejection(forget())).code).toBe('SITE_IN_USE');
  });

  it('a site at which an operation has not ended', async () => {
    await database.rows.group();
    await database.rows.intended({ id: 'one', kind: 'archive', site: 'd' });
    expect((await rejection(forget())).code).toBe('SITE_IN_USE');
  });

  it('a site whose agent is heard', async () => {
    bench.hear('d');
    expect(await rejection(forget())).toMatchObject({ code: 'SITE_IN_USE', hint: expect.stringContaining('Stop') });
  });

  it('a site whose certificates are in force, where people can revoke them', async () => {
    const name = identityUri({ trustDomain: 'example.org', kind: 'site', name: 'd' });
    const dates = { issuedBefore: '', since: '', ends: '' };
    const entry: Revocation = { kind: 'identity', subject: name, name, reason: 'retired', ...dates };
    const entries: Revocation[] = [];
    const namedEntries = (uri: string): Revocation[] => entries.filter((one) => one.name === uri);
    const rules = { required: 1, operators: [] };
    const book = { version: 0, held: undefined, problem: '', rules, entries, namedEntries };
    ports = { ...ports, revocations: { book, trustDomain: 'example.org', ownRefusal: () => undefined } };
    expect((await rejection(forget())).code).toBe('APPROVAL_REQUIRED');
    expect((await forget('d', { planOnly: true, keepCertificate: true })).isNew).toBe(true);
    entries.push(entry);
    expect((await forget()).isNew).toBe(true);
  });
});

it('knows every kind of place that a group has at a site', () => {
  const seat = { site: 'd', serial: 's' };
  const base = groupOf(SPEC);
  const of = (change: object, spec: object = {}) =>
    placesIn({ ...base, ...change, spec: { ...base.spec, ...spec } }, 'd');
  expect(of({})).toEqual([]);
  expect(
    [
      of({ members: [{ ...base.members[0]!, site: 'd' }] }),
      of({ joining: [seat] }),
      of({}, { witnesses: ['d'] }),
      of({}, { scratch: [seat] }),
      of({}, { distributor: seat }),
      of({}, { archives: [seat] }),
    ].map((found) => found.length),
  ).toEqual([1, 1, 1, 1, 1, 1]);
});
