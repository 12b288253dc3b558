/**
 * Applies the coordinator's answer to a heartbeat here: renews leases, and ends tenures that are over. Groups do not
 * know of each other: trouble with the epoch of one keeps no lease from another.
 */
import type { ClockRateBounds, HeartbeatResponse, ReleasedSeat, SiteAddress } from '@antipode/protocol';
import { AntipodeError, hex } from '@antipode/runtime';
import type { Site } from '../site.ts';
import type { VouchRight } from './vouched-leases.ts';

export type HeartbeatAnswer = Pick<HeartbeatResponse, 'leases' | 'epochs'> &
  Partial<
    Pick<
      HeartbeatResponse,
      | 'peers'
      | 'quarantined'
      | 'released'
      | 'needed'
      | 'places'
      | 'acknowledged'
      | 'forgotten'
      | 'term'
      | 'coordinator'
      | 'vouchees'
    >
  >;

/** The parts of the site that an answer changes. */
export type AnswerPorts = Pick<Site, 'name' | 'journal' | 'fences' | 'leases' | 'terms' | 'approvals' | 'log'> & {
  readonly clockRates: Pick<Site['clockRates'], 'isSlow' | 'bounds'>;
  readonly mender: Pick<Site['mender'], 'learn'>;
  readonly retention: Pick<Site['retention'], 'learn'>;
  readonly peers: Pick<Site['peers'], 'learn'>;
  readonly observations: Pick<Site['observations'], 'keepOnly'>;
  readonly places: Pick<Site['places'], 'learn' | 'forget' | 'of'>;
  readonly acknowledgements: Pick<Site['acknowledgements'], 'learn' | 'forget'>;
  readonly vouches: Pick<Site['vouches'], 'learn'>;
  readonly vouched: Pick<Site['vouched'], 'granted'>;
  readonly enrolments: Pick<Site['enrolments'], 'otherMembers'>;
};

export class HeartbeatAnswers {
  readonly #site: AnswerPorts;
  /** The trouble of each group, and under an empty name that of the clock. It is logged once, and when it changes. */
  readonly #troubles = new Map<string, string>();

  constructor(site: AnswerPorts) {
    this.#site = site;
  }

  /**
   * @param options.sentAtMs elapsed time at which the heartbeat was sent, with the sleep of the machine
   * @throws TERM_STALE where a coordinator of a later term was heard: nothing is taken of the answer; a defect, after
   * every group had its turn
   */
  take(answer: HeartbeatAnswer, { sentAtMs }: { sentAtMs: number }): void {
    const { term = 0n, coordinator = '' } = answer;
    this.#site.terms.admit({ term, coordinator });
    const { journal, leases, name, acknowledgements, clockRates } = this.#site;
    const { leases: grants, epochs, peers = [], quarantined = [], released = [], needed = [], places = [] } = answer;
    const { acknowledged = [], forgotten = [], vouchees = [] } = answer;
    let defect: AntipodeError | undefined;
    const each = (group: string, work: () => void): void => {
      try {
        work();
      } catch (thrown) {
        const error = AntipodeError.from(thrown);
        if (error.disposition === 'defect') defect ??= error;
        else this.#complain(group, error);
      }
    };
    for (const { group, reason } of quarantined) each(group, () => this.#quarantine(group, reason));
    for (const seat of released) each(seat.group, () => this.#release(seat));
    // Nothing is promised by a clock that this site cannot follow.
    const taken = clockRates.isSlow ? [] : grants;
    if (clockRates.isSlow) this.#complain('', slowClock(clockRates.bounds));
    else this.#troubles.delete('');
    // Leases first: what stands is renewed in time, whatever the epochs then say.
    const rights: VouchRight[] = [];
    for (const { group, epoch, selfStopMs, vouchers = [] } of taken)
      each(group, () => {
        const fence = journal.tenure.fence(group);
        if (fence?.epoch !== epoch || fence.owner !== name) return;
        leases.grant({ group, epoch, sentAtMs, selfStopMs: Number(selfStopMs) });
        rights.push({
          group,
          epoch,
          vouchers: this.#trusted(group, vouchers),
          sentAtMs,
          selfStopMs: Number(selfStopMs),
        });
      });
    this.#site.vouched.granted(rights);
    this.#site.vouches.learn(vouchees);
    for (const { group, epoch, owner } of epochs)
      each(group, () => {
        this.#learn({ group, epoch, owner });
        this.#troubles.delete(group);
      });
    for (const place of places) each(place.group, () => this.#site.places.learn(place, { sentAtMs }));
    for (const { group, members } of acknowledged) each(group, () => acknowledgements.learn(group, members));
    for (const group of forgotten) each(group, () => this.#forget(group));
    for (const { group, sites } of peers) this.#site.mender.learn(group, sites);
    for (const { group, manifestDigests } of needed) this.#site.retention.learn(group, manifestDigests.map(hex));
    const others = peers.flatMap(({ sites, witnesses }) => [...sites, ...witnesses]);
    this.#site.peers.learn(others);
    this.#site.observations.keepOnly(others.map(({ site }) => site));
    if (defect !== undefined) throw defect;
  }

  /**
   * The sites that may vouch, in a group that this site guards only if every other member is among them, by its own pins.
   * The target of any promotion is one of these, and vouches no more. So no coordinator can plant a tenure that outlives it.
   */
  #trusted(group: string, vouchers: readonly SiteAddress[]): readonly SiteAddress[] {
    const { approvals, enrolments, name } = this.#site;
    const known = `vouchers ${group}`;
    const missing = approvals.isGuarded(group)
      ? enrolments.otherMembers(group).filter((site) => !vouchers.some((one) => one.site === site))
      : [];
    if (vouchers.length > 0 && missing.length > 0) {
      const error = new AntipodeError(
        'VOUCH_REFUSED',
        `the coordinator says that sites ${vouchers.map(({ site }) => site).join(', ')} may vouch for site ${name}, without site ${missing.join(', ')}, which is a member by the pins here`,
        {
          details: { group, missing: missing.join(',') },
          hint: 'If that site has left the group, run `antipode peer distrust` for it here. Otherwise find out who has changed the group. Until then, this site goes on without coordinators for no longer than its lease.',
        },
      );
      this.#complain(known, error);
      return [];
    }
    this.#troubles.delete(known);
    return vouchers;
  }

  /** Persisted: a restart, or a coordinator that has forgotten, does not end it. */
  #quarantine(group: string, reason: string): void {
    const { journal, leases, log } = this.#site;
    leases.revoke(group);
    if (journal.tenure.quarantine(group) !== undefined) return;
    journal.tenure.setQuarantine(group, reason);
    log.error('in quarantine: this site does nothing in the group until an operator reseats it', { group, reason });
  }

  /** An operator has removed this site from a group. Persisted, so that it is not a standby after a restart either. */
  #release({ group, serial, epoch, owner, deleted, approvals: given }: ReleasedSeat): void {
    const { fences, journal, leases, approvals, name, log } = this.#site;
    if (journal.tenure.seat(group)?.serial !== serial) return;
    const persisted = journal.tenure.fence(group);
    if (persisted !== undefined && persisted.epoch > epoch) return;
    fences.examine({ group, epoch, owner });
    approvals.use(
      {
        action: 'release',
        group,
        epoch,
        partition: { site: name, serial },
        scope: `release ${serial} ${epoch}`,
        what: `the removal of site ${name} from group ${group}`,
      },
      given,
    );
    journal.approvals.dismiss(group, serial);
    this.#site.places.forget(group);
    this.#site.acknowledgements.forget(group);
    journal.tenure.release(group, { epoch, owner }, { deleted });
    leases.revoke(group);
    log.warn('this site is not a member of the group any more: an operator has removed it', {
      group,
      serial,
      epoch,
      deleted,
    });
  }

  /** The group was deleted, or has no partition at this site any more. */
  #forget(group: string): void {
    const { journal, log, places } = this.#site;
    if (journal.tenure.seat(group) !== undefined || places.of(group) === undefined) return;
    places.forget(group);
    log.info('this site has no part in the group any more, and has forgotten where it is served', { group });
  }

  #learn({ group, epoch, owner }: { group: string; epoch: bigint; owner: string }): void {
    const { fences, journal, leases, log } = this.#site;
    const known = journal.tenure.fence(group);
    if (known !== undefined && known.epoch > epoch) return;
    const before = journal.tenure.seat(group)?.role;
    fences.admit({ group, epoch, owner });
    if (before === 'active' && journal.tenure.seat(group)?.role === 'fenced') {
      leases.revoke(group);
      log.warn('stood down: a newer tenure exists', { group, epoch, owner });
    }
  }

  #complain(group: string, error: AntipodeError): void {
    if (this.#troubles.get(group) === error.message) return;
    this.#troubles.set(group, error.message);
    this.#site.log.warn('this site cannot accept what the coordinator reports about a group', { group, error });
  }
}

const slowClock = (bounds: ClockRateBounds | undefined): AntipodeError =>
  new AntipodeError(
    'CLOCK_RATE_DIFFERS',
    "the clock of this site runs slower than the coordinator's: a lease would be counted too long here, so none is taken",
    { details: bounds === undefined ? {} : { low: bounds.low.toFixed(2), high: bounds.high.toFixed(2) } },
  );
