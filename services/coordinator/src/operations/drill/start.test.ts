import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Generation } from '../../model.ts';
import type { SiteView } from '../../sites/detector.ts';
import type { Write } from '../../store/store.ts';
import { testDatabase } from '../../testing/database.ts';
import { SPEC } from '../../testing/group.ts';
import { siteView } from '../../testing/site-views.ts';
import { generation } from '../../testing/situation.ts';
import type { Planned } from '../planner.ts';
import { startDrill } from './start.ts';

const database = testDatabase();
const SCRATCH = ['c', 'd'].map((site) => ({ site, serial: `scratch-${site}` }));

let intended: Planned[];
let wanted: unknown[];
let up: string[];
let views: Map<string, SiteView>;
/** The last report of a site with a scratch partition that holds these versions. */
const reports = (site: string, versions: readonly number[], errorCode = ''): void => {
  const domainKeys = [...versions.map((version) => ({ group: 'payments', version })), { group: 'cards', version: 1 }];
  const partitions = [{ serial: `scratch-${site}`, errorCode, domainKeys }];
  views.set(site, siteView(site, { partitions }));
};
const start = (
  order: { group?: string; site?: string; isWanted?: (trx: Write) => Promise<boolean> } = {},
  untilHeard: (sites: readonly string[]) => Promise<void> = async () => {},
) =>
  startDrill(
    {
      store: database.store,
      untilHeard,
      detector: { isUp: (site) => up.includes(site), view: (site) => views.get(site) },
      reconciler: {
        intend: async (planned, isWanted) => {
          intended.push(planned);
          wanted.push(isWanted);
          return { id: 'i', isNew: true };
        },
      },
    },
    { group: 'payments', site: '', ...order },
  );

/** A generation of two objects. */
const of = (epoch: bigint, number: bigint): Generation =>
  generation({ epoch, number, manifestDigest: `${epoch}-${number}` });
const acknowledge = async (): Promise<void> => {
  await database.rows.captured([of(1n, 9n), of(2n, 2n), of(2n, 3n)]);
  await database.rows.acknowledged('a', of(1n, 9n));
  await database.rows.acknowledged('b', of(2n, 3n));
  await database.rows.acknowledged('c', of(2n, 2n));
};
beforeEach(async () => {
  [intended, wanted, up, views] = [[], [], ['c', 'd'], new Map()];
  await database.rows.group({ spec: { ...SPEC, scratch: SCRATCH } });
});

describe('a drill', () => {
  it('takes the newest acknowledged generation, by epoch before number, to a declared scratch partition', async () => {
    await acknowledge();
    await database.rows.captured([of(2n, 4n)]);
    expect(await start()).toBe('i');
    const state = { phase: 'planned', epoch: 2n, number: 3n, serial: 'scratch-c' };
    expect(intended).toEqual([{ kind: 'drill', group: 'payments', site: 'c', state, trace: {} }]);
  });

  it('takes the newest capture where none was acknowledged', async () => {
    await database.rows.captured([of(2n, 4n)]);
    await start();
    expect(intended).toMatchObject([{ state: { epoch: 2n, number: 4n } }]);
  });

  it('goes to the first site that is up, or to the one that was named', async () => {
    await acknowledge();
    up = ['d'];
    await start();
    up = [];
    await start();
    await start({ site: 'd' });
    expect(intended.map(({ site }) => site)).toEqual(['d', 'c', 'd']);
  });

  it('goes to a partition that holds the domain key of the generation, even if its site is down', async () => {
    await acknowledge();
    reports('c', [2]);
    reports('d', [1, 2]);
    up = ['c'];
    await start();
    expect(intended.map(({ site }) => site)).toEqual(['d']);
  });

  it('is chosen only when a new leader has heard the sites of its scratch partitions', async () => {
    await acknowledge();
    up = [];
    for (const site of ['c', 'd']) views.set(site, siteView(site, undefined, { status: 'unknown' }));
    const asked: (readonly string[])[] = [];
    await start({}, async (sites) => {
      asked.push(sites);
      up = ['c', 'd'];
      reports('c', [2]);
      reports('d', [1, 2]);
    });
    expect([asked, intended.map(({ site }) => site)]).toEqual([[['c', 'd']], ['d']]);
  });

  it('goes to a site that is not heard yet before one that is silent', async () => {
    await acknowledge();
    up = [];
    views.set('c', siteView('c', undefined, { status: 'down' }));
    views.set('d', siteView('d', undefined, { status: 'unknown' }));
    await start({ site: '' });
    expect(intended.map(({ site }) => site)).toEqual(['d']);
  });

  it('is refused while no partition holds the domain key, and starts once that is not known for sure', async () => {
    await acknowledge();
    reports('c', [2]);
    reports('d', []);
    expect(await rejection(start())).toMatchObject({ code: 'DOMAIN_KEY_MISSING', details: { version: 1 } });
    expect((await rejection(start({ site: 'c' }))).code).toBe('DOMAIN_KEY_MISSING');
    reports('d', [], 'HSM_UNAVAILABLE');
    await start();
    expect(intended.map(({ site }) => site)).toEqual(['d']);
  });

  it('is made only where the caller still wants it, in the same transaction', async () => {
    await acknowledge();
    const isWanted = async (): Promise<boolean> => false;
    await start({ isWanted });
    expect(wanted).toEqual([isWanted]);
  });

  it.each([
    ['NOT_FOUND', 'there is no such group', { group: 'unknown' }],
    ['NOT_FOUND', 'the site has no scratch partition', { site: 'b' }],
  ])('is refused with %s where %s', async (code, _where, order) => {
    await acknowledge();
    expect((await rejection(start(order))).code).toBe(code);
    expect(intended).toEqual([]);
  });

  it('is refused where there is no generation, or only an empty one: it would prove nothing', async () => {
    expect((await rejection(start())).code).toBe('GENERATION_UNKNOWN');
    await database.rows.captured([generation({ epoch: 1n, number: 1n, objectCount: 0 })]);
    expect((await rejection(start())).code).toBe('GENERATION_UNKNOWN');
    expect(intended).toEqual([]);
  });
});
