/** Proof that the seams are complete: a whole system in one process does the same in two runs of one seed. */
import { FailoverPolicy } from '@antipode/protocol';
import { seededPrng, sha256Hex } from '@antipode/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { SimulatedSystem } from '../../support/simulated-system.ts';

const GROUP = 'payments';
const NAMES = ['a', 'b'] as const;
const ROUNDS = 2;
/** Time in which the calendar of the group brings captures of its own. */
const QUIET_MS = 20_000;

/** Every event, line by line, then the rows of the database and what the sites hold at the end. */
async function run(seed: string, { turnsToSettle = 1 } = {}): Promise<string[]> {
  const system = await SimulatedSystem.start({ seed, turnsToSettle }, { sites: NAMES, group: GROUP });
  await system.until(script(system, seed));
  for (const row of await rowsOf(system)) system.note('row of the database', { row });
  for (const { name, member, site } of system.sites.values())
    system.note('the end', {
      name,
      contents: sha256Hex(member.hsm.contents().join('\n')),
      seats: site.journal.tenure.seats(),
      account: site.journal.account,
    });
  await system.close();
  return system.lines;
}

/** The tables that tell what was decided and found. Their rows have no order of their own. */
const TABLES = [
  'event',
  'intent',
  'generation',
  'acknowledgement',
  'epoch',
  'member',
  'drill',
  'journal_mark',
] as const;

/** ECDSA draws chance of its own for each signature. */
const isSignature = (key: string): boolean => key === 'signature';

async function rowsOf({ store }: SimulatedSystem): Promise<string[]> {
  const rows = await Promise.all(
    TABLES.map(async (table) => {
      // Each table has its own type of row; here they are all just values.
      const all = await store.query((db) =>
        db
          .selectFrom(table as 'event')
          .selectAll()
          .execute(),
      );
      return all.map((row) => `${table} ${JSON.stringify(row, plain)}`).sort();
    }),
  );
  return rows.flat();
}

const plain = (key: string, value: unknown): unknown =>
  isSignature(key) ? undefined : typeof value === 'bigint' ? value.toString() : value;

/** A group is made and replicated, moves to its other site, is replicated there, and runs a drill. */
async function script(system: SimulatedSystem, seed: string): Promise<void> {
  const { operator } = system;
  const prng = seededPrng(`${seed} script`);
  const ended = async (what: string, operationId: string): Promise<void> => {
    const { kind, status, phase, errorCode } = await system.ended(operationId);
    system.note('operation ended', { what, kind, status, phase, errorCode });
  };
  const members = NAMES.map((site) => ({ site, serial: `${site}-1` }));
  const scratch = NAMES.map((site) => ({ site, serial: `${site}-2` }));
  const spec = { name: GROUP, members, scratch, rpoSeconds: 60, failoverPolicy: FailoverPolicy.MANUAL };
  await ended('create', (await operator.createGroup({ spec })).operationId);
  for (const active of NAMES) {
    if (active !== NAMES[0])
      await ended('move', (await operator.failover({ group: GROUP, toSite: active })).operationId);
    for (let round = 0; round < ROUNDS; round += 1) {
      const { hsm } = system.sites.get(active)!.member;
      for (let count = prng.bytes(1)[0]! % 3; count >= 0; count -= 1) hsm.addSecret(`key ${prng.bytes(2).join('.')}`);
      await ended('replicate', (await operator.replicate({ group: GROUP })).operationId);
      await system.clock.sleep(QUIET_MS);
    }
  }
  await ended('drill', (await operator.runDrill({ group: GROUP, site: 'a' })).operationId);
}

describe('a coordinator and two agents on one clock', () => {
  let lines: readonly string[];
  beforeAll(async () => {
    lines = await run('one');
  });

  it('do the same, byte for byte, in a second run of the same seed', async () => {
    expect(await run('one')).toEqual(lines);
  });

  it('do the same when the event loop takes another course, because they wait for the clock only', async () => {
    expect(await run('one', { turnsToSettle: 5 })).toEqual(lines);
  });

  it('do their work meanwhile: every operation ends well, and both members hold the same objects', () => {
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const told = (wanted: string) => events.filter(({ message }) => message === wanted);
    expect(told('operation ended').map(({ what, status }) => `${what} ${status}`)).toEqual([
      'create done',
      'replicate done',
      'replicate done',
      'move done',
      'replicate done',
      'replicate done',
      'drill done',
    ]);
    expect(new Set(told('the end').map(({ contents }) => contents)).size).toBe(1);
  });

  it('have on record how far each journal was when its site answered an order', () => {
    const marks = lines.flatMap((line) =>
      [...line.matchAll(/journal_mark .*?answered\W+(\d+)/g)].map(([, count]) => count),
    );
    expect(marks).toHaveLength(NAMES.length);
    expect(marks).not.toContain('0');
  });
});
