/** A group of three in which nothing is due, but for what a test says of it. */
import { MemberRole, roleNumber } from '@antipode/protocol';
import type { Generation, Group, IntentKind, Member } from '../model.ts';
import type { Plan, Situation } from '../operations/planner.ts';
import type { SiteStatus, SiteView } from '../sites/detector.ts';
import type { Intent } from '../store/tables/intents.ts';
import { PROFILES } from '../timings.ts';
import { siteView } from './site-views.ts';

export const NOW_MS = Date.UTC(2026, 0, 1);
export const TIMINGS = PROFILES.default;
export const RPO_MS = 300_000;
export const SCRUB_MS = 7 * 86_400_000;

/** A seat by its agent's word: no seat, a role, or a role that only a newer version knows. */
export type SeatSaid = 'none' | 'unknown' | Member['role'];

/** The holdings of a member by its agent's word. */
export interface Said {
  readonly applied?: Generation;
  readonly errorCode?: string;
  readonly quarantine?: string;
  /** The partition that has the seat; that of the database where nothing is said here. */
  readonly serial?: string;
}

const appliedOf = ({ epoch, number }: Generation) => ({
  epoch,
  generation: number,
  manifestDigest: new Uint8Array([Number(number)]),
});

const view = (
  site: string,
  status: SiteStatus,
  seat: SeatSaid | undefined,
  domainKeyVersion: number,
  { applied, errorCode = '', quarantine, serial = `serial-${'abcde'.indexOf(site)}` }: Said = {},
): SiteView =>
  siteView(
    site,
    seat === undefined
      ? undefined
      : {
          members: [
            { group: 'cards', role: MemberRole.STANDBY },
            ...(seat === 'none'
              ? []
              : [
                  {
                    group: 'payments',
                    serial,
                    role: seat === 'unknown' ? (99 as MemberRole) : roleNumber(seat),
                    domainKeyVersion,
                    ...(applied && { epoch: applied.epoch, applied: appliedOf(applied) }),
                  },
                ]),
          ],
          partitions: [{ serial: `serial-${'abcde'.indexOf(site)}`, errorCode }],
          ...(quarantine === undefined
            ? {}
            : { journal: { quarantined: [{ group: 'payments', reason: quarantine }] } }),
        },
    { status, lastWallMs: NOW_MS - 12_000 },
  );

export const intent = (kind: IntentKind, rest: Partial<Intent> = {}): Intent => ({
  id: `${kind}-1`,
  kind,
  group: 'payments',
  site: '',
  state: { phase: 'due' },
  status: 'open',
  attempts: 0,
  performing: 0,
  requestId: 'i.0',
  nextAttemptMs: 0,
  errorCode: '',
  errorMessage: '',
  failure: undefined,
  trace: {},
  createdMs: NOW_MS,
  updatedMs: NOW_MS,
  ...rest,
});

export const generation = (rest: Partial<Generation> = {}): Generation => ({
  epoch: 1n,
  number: 4n,
  manifestDigest: 'd4',
  contentDigest: 'c4',
  objectCount: 2,
  domainKeyVersion: 1,
  uncaptured: [],
  recoveryPointMs: NOW_MS - 1_000,
  trace: { traceparent: '00-1' },
  ...rest,
});

const members = (roles: readonly Member['role'][]): Member[] =>
  roles.map((role, at) => ({ site: 'abcde'[at]!, serial: `serial-${at}`, role, divergent: 0, unaccounted: 0 }));

export interface Case {
  readonly group?: Partial<Group>;
  readonly roles?: readonly Member['role'][];
  readonly policy?: Group['spec']['failoverPolicy'];
  readonly statuses?: Readonly<Record<string, SiteStatus>>;
  /** Seats by the word of their agents. The default is what the database says. */
  readonly seats?: Readonly<Record<string, SeatSaid | undefined>>;
  /** The newest domain key version that agents say they hold; all there are where nothing is said here. */
  readonly versions?: Readonly<Record<string, number>>;
  /** Everything else that their agents say of them. */
  readonly said?: Readonly<Record<string, Said>>;
}

export function situation(one: Case = {}, rest: Partial<Situation> = {}): Situation {
  const { group = {}, roles = ['active', 'standby', 'standby'], policy = 'automatic', statuses = {} } = one;
  const seats = members(roles);
  const said = { ...Object.fromEntries(seats.map(({ site, role }) => [site, role])), ...one.seats };
  return {
    group: {
      spec: {
        name: 'payments',
        members: seats,
        scratch: [],
        filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] },
        rpoMs: RPO_MS,
        drillCron: '',
        scrubMs: SCRUB_MS,
        failoverPolicy: policy,
      },
      members: seats,
      epoch: 1n,
      owner: 'a',
      highestEpoch: 1n,
      highestOwner: 'a',
      domainKeyVersion: 1,
      highestVersion: 1,
      rotateAbove: 0,
      firstEpoch: 1n,
      joining: [],
      recoveryTimeMs: undefined,
      createdMs: NOW_MS - 1_000,
      revision: 1,
      ...group,
    },
    newest: generation(),
    acknowledged: ['b', 'c'].map((site) => ({ ...generation(), site })),
    joiningAcknowledged: [],
    recent: [],
    failed: [],
    open: [],
    archives: [],
    scrubs: [],
    drills: [],
    contradiction: undefined,
    view: (site) => view(site, statuses[site] ?? 'up', said[site], one.versions?.[site] ?? 9, one.said?.[site]),
    nowMs: NOW_MS,
    timings: TIMINGS,
    ...rest,
  };
}

export const kinds = ({ create }: Plan): string[] =>
  create.map(({ kind, site }) => (site === '' ? kind : `${kind} ${site}`));
