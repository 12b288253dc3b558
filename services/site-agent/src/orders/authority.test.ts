import { AntipodeError } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { Role } from '../storage/journal/tenure.ts';
import { FenceKeeper } from '../tenure/fence.ts';
import { LeaseKeeper } from '../tenure/lease.ts';
import { Authority, type Tenure } from './authority.ts';

const GROUP = 'payments';
/** The journal here holds epoch 5, which belongs to this site, a. */
const EPOCH = 5n;

const roles = ['none', 'active', 'standby', 'fenced'] as const;
/** The epoch of the order, against the one that is persisted. */
const tenures = ['over', 'in force', 'later'] as const;
/** `of another`: the lease is for an earlier epoch than the order. */
const leases = ['valid', 'lapsed', 'of another'] as const;
const owners = ['a', 'b'] as const;
const quarantines = ['quarantined', 'trusted'] as const;

interface Situation {
  readonly role: (typeof roles)[number];
  readonly tenure: (typeof tenures)[number];
  readonly lease: (typeof leases)[number];
  readonly owner: (typeof owners)[number];
  readonly quarantine: (typeof quarantines)[number];
}

const situations: readonly Situation[] = roles.flatMap((role) =>
  tenures.flatMap((tenure) =>
    leases.flatMap((lease) =>
      owners.flatMap((owner) => quarantines.map((quarantine) => ({ role, tenure, lease, owner, quarantine }))),
    ),
  ),
);

type Capacity = 'inForce' | 'asSite' | 'asMember' | 'asStandby' | 'asSuccessor' | 'asActive' | 'asKeyMaker';
type Row = readonly [situation: Partial<Situation>, code: string];

/** The first row that fits says the code; where none fits, this site may act. */
const over: Row = [{ tenure: 'over' }, 'EPOCH_STALE'];
const quarantined: Row = [{ quarantine: 'quarantined' }, 'SITE_QUARANTINED'];
const unseated: Row = [{ role: 'none' }, 'NOT_FOUND'];
const refused = (situation: Partial<Situation>): Row => [situation, 'ROLE_REFUSED'];
const TABLE: Readonly<Record<Capacity, readonly Row[]>> = {
  inForce: [over],
  asSite: [over, quarantined],
  asMember: [over, quarantined, unseated, refused({ role: 'fenced' })],
  asStandby: [over, quarantined, unseated, refused({ role: 'fenced' }), refused({ role: 'active' })],
  asSuccessor: [over, quarantined, refused({ owner: 'b' }), unseated, refused({ role: 'fenced' })],
  asActive: [
    over,
    quarantined,
    unseated,
    refused({ role: 'fenced' }),
    refused({ role: 'standby' }),
    refused({ owner: 'b' }),
    [{ lease: 'lapsed' }, 'LEASE_LAPSED'],
    [{ lease: 'of another' }, 'LEASE_LAPSED'],
  ],
  asKeyMaker: [
    over,
    quarantined,
    unseated,
    refused({ role: 'fenced' }),
    refused({ role: 'standby' }),
    refused({ owner: 'b' }),
  ],
};
const CAPACITIES = Object.keys(TABLE) as Capacity[];

const epochOf = ({ tenure }: Situation): bigint => EPOCH + BigInt(tenures.indexOf(tenure) - 1);

function authorityIn(situation: Situation): Authority {
  const { role, lease, quarantine } = situation;
  const clock = new FakeClock();
  const keeper = new LeaseKeeper({ clock });
  const epoch = epochOf(situation);
  const selfStopMs = lease === 'lapsed' ? 0 : 15_000;
  keeper.grant({ group: GROUP, epoch: lease === 'of another' ? epoch - 1n : epoch, sentAtMs: 0, selfStopMs });
  const records = {
    seat: () =>
      role === 'none'
        ? undefined
        : { group: GROUP, serial: 'a-1', role: role satisfies Role, divergent: 0, unaccounted: 0 },
    quarantine: () => (quarantine === 'quarantined' ? 'an older copy' : undefined),
    fence: () => ({ epoch: EPOCH, owner: 'a' }),
    raise: () => expect.unreachable('nothing is admitted here'),
  };
  return new Authority({ name: 'a', tenure: records, fences: new FenceKeeper({ records }), leases: keeper });
}

/** The code, or `may act`. */
function answerOf(capacity: Capacity, situation: Situation): string {
  const tenure: Tenure = { group: GROUP, epoch: epochOf(situation), owner: situation.owner };
  try {
    authorityIn(situation)[capacity](tenure);
    return 'may act';
  } catch (refusal) {
    if (!(refusal instanceof AntipodeError)) throw refusal;
    expect(refusal.details['group']).toBe(GROUP);
    return refusal.code;
  }
}

const fits = (row: Partial<Situation>, situation: Situation): boolean =>
  Object.entries(row).every(([name, value]) => situation[name as keyof Situation] === value);

const mayActIn = (capacity: Capacity): Situation[] =>
  situations.filter((situation) => answerOf(capacity, situation) === 'may act');

describe('the authority of an agent', () => {
  it.each(CAPACITIES)('answers for `%s` as the table says, in every situation', (capacity) => {
    const found = situations.map((situation) => ({ ...situation, code: answerOf(capacity, situation) }));
    const expected = situations.map((situation) => {
      const row = TABLE[capacity].find(([one]) => fits(one, situation));
      return { ...situation, code: row?.[1] ?? 'may act' };
    });
    expect(found).toEqual(expected);
  });

  it('lets the active member act only as the owner of the epoch, trusted, and under a valid lease', () => {
    const allowed = mayActIn('asActive');
    expect(allowed.map(({ tenure }) => tenure)).toEqual(['in force', 'later']);
    for (const { role, lease, owner, quarantine } of allowed)
      expect({ role, lease, owner, quarantine }).toEqual({
        role: 'active',
        lease: 'valid',
        owner: 'a',
        quarantine: 'trusted',
      });
  });

  it.each(CAPACITIES)('allows nothing as `%s` in a tenure that is over', (capacity) => {
    expect(mayActIn(capacity).filter(({ tenure }) => tenure === 'over')).toEqual([]);
  });

  it.each(CAPACITIES.filter((capacity) => !['inForce', 'asSite'].includes(capacity)))(
    'allows nothing as `%s` to a fenced member, or without a seat',
    (capacity) => {
      expect(mayActIn(capacity).filter(({ role }) => role === 'fenced' || role === 'none')).toEqual([]);
    },
  );

  it.each(CAPACITIES.filter((capacity) => !['inForce', 'asKeyMaker'].includes(capacity)))(
    'allows nothing as `%s` in quarantine',
    (capacity) => {
      expect(mayActIn(capacity).filter(({ quarantine }) => quarantine === 'quarantined')).toEqual([]);
    },
  );

  it('never lets one member act as the active one and as a standby', () => {
    const both = mayActIn('asStandby').filter((situation) => answerOf('asActive', situation) === 'may act');
    expect(both).toEqual([]);
  });

  it('looks at the journal at every call', () => {
    let role: Role = 'standby';
    const tenureHere = {
      seat: () => ({ group: GROUP, serial: 'a-1', role, divergent: 0, unaccounted: 0 }),
      quarantine: () => undefined,
    };
    const authority = new Authority({
      name: 'a',
      tenure: tenureHere,
      fences: { check: () => {} },
      leases: { check: () => {} },
    });
    const tenure: Tenure = { group: GROUP, epoch: EPOCH, owner: 'a' };
    expect(authority.asStandby(tenure).role).toBe('standby');
    role = 'fenced';
    expect(thrown(() => authority.asStandby(tenure)).code).toBe('ROLE_REFUSED');
  });
});
