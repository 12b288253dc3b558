/**
 * The active member reports attributes that no replica gets with every heartbeat, by object id and name of the
 * attribute. Labels are shown at the site only.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentConfigSchema } from '../config.ts';
import { attributesHere } from '../objects/object-attributes.ts';
import { describe as account } from '../orders/describe.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { GROUP, TwoSites } from '../testing/two-sites.ts';
import { afterCapture, countedByName, weightiestFirst } from './not-carried.ts';

const KIND = 'secret-key/aes';
const entry = (objectId: string) => ({ objectId, objectClass: 'secret-key', keyType: 'aes' });

describe('after a capture', () => {
  const before = [
    { objectId: 'a', kind: KIND, attributes: ['CKA_TRUSTED'] },
    { objectId: 'b', kind: KIND, attributes: ['0x80000101'] },
  ];

  it('what was not read stays, what was read is as it was read, and what is not captured any more is gone', () => {
    const entries = [entry('a'), entry('c')];
    const read = new Map([['c', ['CKA_END_DATE']]]);
    expect(afterCapture({ before, read, entries })).toEqual([
      before[0],
      { objectId: 'c', kind: KIND, attributes: ['CKA_END_DATE'] },
    ]);
    const none = new Map([
      ['a', []],
      ['b', []],
    ]);
    expect(afterCapture({ before, read: none, entries: [entry('a'), entry('b')] })).toEqual([]);
  });

  it('nothing is written where nothing is new', () => {
    const entries = [entry('b'), entry('a')];
    expect(afterCapture({ before, read: new Map([['a', ['CKA_TRUSTED']]]), entries })).toBeUndefined();
    expect(afterCapture({ before: [], read: new Map([['a', []]]), entries })).toBeUndefined();
  });
});

it('those come first whose loss takes a protection away: trust, dates, what a vendor has defined', () => {
  const objects = ['CKA_URL', 'CKA_TRUSTED', 'CKA_END_DATE', '0x80000101'].map((name, index) => ({
    objectId: String(index),
    kind: KIND,
    attributes: [name],
  }));
  const { first, weighty } = weightiestFirst(objects);
  expect([first.map(({ objectId }) => objectId), weighty]).toEqual([['1', '2', '3', '0'], 3]);
  expect(countedByName([...objects, objects[0]!])).toBe('CKA_URL 2, CKA_TRUSTED 1, CKA_END_DATE 1, 0x80000101 1');
});

describe('a heartbeat', () => {
  let sites: TwoSites;
  let a: SimulatedSite;
  beforeEach(async () => {
    sites = await TwoSites.make();
    a = sites.a;
  });
  afterEach(() => sites.close());

  const told = async (site: SimulatedSite) => (await account(site.site)).members?.find(({ group }) => group === GROUP);

  it('tells them of the active member, also after a restart, and no label', async () => {
    a.member.hsm.addSecret('trusted by somebody');
    a.member.hsm.addSecret('plain');
    const { look } = a.member.provider;
    const isTrusted = (bytes?: Uint8Array) =>
      Buffer.from(bytes ?? [])
        .toString()
        .startsWith('trusted');
    a.member.provider.look = async (options) => {
      const seen = await look.call(a.member.provider, options);
      const objects = seen.objects.map((object) =>
        isTrusted(object.attributes.label) ? { ...object, notCarried: ['CKA_TRUSTED'] } : object,
      );
      return { ...seen, objects };
    };
    const ref = await sites.captured(a);
    a.stop();
    await a.start();
    const { entries } = (await a.site.store.open(ref.digest)).generation;
    const { objectId } = entries.find(({ attributes }) => isTrusted(attributes.label))!;
    const member = await told(a);
    expect(member).toMatchObject({
      notCarried: [{ objectId, kind: KIND, attributes: ['CKA_TRUSTED'] }],
      notCarriedObjects: 1,
      notCarriedWeighty: 1,
    });
    expect(JSON.stringify(member?.notCarried)).not.toContain('somebody');
    expect((await told(sites.b))?.notCarriedObjects ?? 0).toBe(0);
    // At the site itself, from journal and store.
    a.site.journal.identities.add('main', {
      serial: a.member.serial,
      ckaId: Uint8Array.of(1),
      publicHalf: Uint8Array.of(2),
    });
    const config = agentConfigSchema.parse({
      site: 'a',
      listen: 'a.example:1',
      coordinator: { id: 'main', address: 'main.example:1' },
      tls: { ca: 'ca', certificate: 'certificate', key: 'key' },
      dataFolder: a.folder,
      partitions: [{ name: 'main', module: 'm', tokenLabel: 't', pinFile: 'p' }],
    });
    a.site.journal.findings.setUntried({ group: GROUP, serial: 'a-1' }, [
      { objectId, use: 'derive', reason: 'no mechanism' },
    ]);
    const { isSource, objects } = await attributesHere(config, 'main');
    expect(objects.map(({ untried }) => untried).filter(({ length }) => length > 0)).toEqual([
      [{ use: 'derive', reason: 'no mechanism' }],
    ]);
    expect([isSource, objects.find((one) => one.objectId === objectId)]).toMatchObject([
      true,
      { label: 'trusted by somebody', lost: ['CKA_TRUSTED'], narrowed: [], carried: expect.arrayContaining(['local']) },
    ]);
    expect(objects.flatMap(({ lost }) => lost)).toEqual(['CKA_TRUSTED']);
  });
});
