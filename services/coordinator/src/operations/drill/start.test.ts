import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Group } from '../../model.ts';
import type { Detector } from '../../sites/detector.ts';
import type { Store, Write } from '../../store/store.ts';
import type { Planned } from '../planner.ts';
import type { Reconciler } from '../reconciler.ts';
import { startDrill } from './start.ts';

interface Held {
  readonly site?: string;
  readonly epoch: bigint;
  readonly number: bigint;
  readonly objectCount: number;
}
/** The database, in memory. */
const database = vi.hoisted(() => ({ newest: undefined as Held | undefined, acknowledged: [] as Held[] }));
vi.mock(import('../../store/tables/groups.ts'), () => ({
  readGroup: async (_db: unknown, name: string) => {
    if (name !== 'payments') throw new AntipodeError('NOT_FOUND', 'no such group');
    return { spec: { scratch: SCRATCH } } as unknown as Group;
  },
}));
vi.mock(import('../../store/tables/generations.ts'), () => ({
  readNewest: async () => database.newest as never,
  readAcknowledged: async () => database.acknowledged as never,
}));
const SCRATCH = ['c', 'd'].map((site) => ({ site, serial: `scratch-${site}` }));

let intended: Planned[];
let wanted: unknown[];
let up: string[];
const start = (order: { group?: string; site?: string; isWanted?: (trx: Write) => Promise<boolean> } = {}) =>
  startDrill(
    {
      store: { query: async (work: (db: unknown) => unknown) => work(undefined) } as unknown as Store,
      detector: { isUp: (site: string) => up.includes(site) } as unknown as Detector,
      reconciler: {
        intend: async (planned: Planned, isWanted: unknown) => {
          intended.push(planned);
          wanted.push(isWanted);
          return { id: 'i', isNew: true };
        },
      } as unknown as Reconciler,
    },
    { group: 'payments', site: '', ...order },
  );

beforeEach(() => {
  [intended, wanted, up] = [[], [], ['c', 'd']];
  database.newest = { epoch: 2n, number: 4n, objectCount: 1 };
  database.acknowledged = [
    { site: 'a', epoch: 1n, number: 9n, objectCount: 1 },
    { site: 'b', epoch: 2n, number: 3n, objectCount: 1 },
    { site: 'c', epoch: 2n, number: 2n, objectCount: 1 },
  ];
});

describe('a drill', () => {
  it('takes the newest acknowledged generation, by epoch before number, to a declared scratch partition', async () => {
    expect(await start()).toBe('i');
    const state = { phase: 'planned', epoch: 2n, number: 3n, serial: 'scratch-c' };
    expect(intended).toEqual([{ kind: 'drill', group: 'payments', site: 'c', state, trace: {} }]);
  });

  it('takes the newest capture where none was acknowledged', async () => {
    database.acknowledged = [];
    await start();
    expect(intended).toMatchObject([{ state: { epoch: 2n, number: 4n } }]);
  });

  it('goes to the first site that is up, or to the one that was named', async () => {
    up = ['d'];
    await start();
    up = [];
    await start();
    await start({ site: 'd' });
    expect(intended.map(({ site }) => site)).toEqual(['d', 'c', 'd']);
  });

  it('is made only where the caller still wants it, in the same transaction', async () => {
    const isWanted = async (): Promise<boolean> => false;
    await start({ isWanted });
    expect(wanted).toEqual([isWanted]);
  });

  it.each([
    ['NOT_FOUND', 'there is no such group', { group: 'unknown' }],
    ['NOT_FOUND', 'the site has no scratch partition', { site: 'b' }],
  ])('is refused with %s where %s', async (code, _where, order) => {
    expect((await rejection(start(order))).code).toBe(code);
    expect(intended).toEqual([]);
  });

  it('is refused where there is no generation, or only an empty one: it would prove nothing', async () => {
    database.acknowledged = [];
    database.newest = { epoch: 1n, number: 1n, objectCount: 0 };
    expect((await rejection(start())).code).toBe('GENERATION_UNKNOWN');
    database.newest = undefined;
    expect((await rejection(start())).code).toBe('GENERATION_UNKNOWN');
    expect(intended).toEqual([]);
  });
});
