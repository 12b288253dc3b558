/**
 * Keeps the leases of this site while no coordinator answers: every other voting site of the tenure vouches for it, or
 * they lapse (ADR 0048). The right to ask comes with a lease of a coordinator, and ends with the next answer of one. So a
 * process that was started again asks for nothing, and neither does one that a coordinator has refused.
 */
import { type SiteAddress, VOUCH_STOP_MS } from '@antipode/protocol';
import { AntipodeError, elapsedMs } from '@antipode/runtime';
import type { Site } from '../site.ts';

/** A site that does not answer by then has not vouched. */
const ANSWER_MS = 1_200;
/** Several rounds fit into the time that a word holds. */
const ROUND_MS = 500;

/** With fewer, one site that lies could keep a second active member alive. */
export const VOUCHERS_MIN = 2;

/** A lease that a coordinator has granted, and who may prolong it. */
export interface VouchRight {
  readonly group: string;
  readonly epoch: bigint;
  /** Every other voting site of the tenure. */
  readonly vouchers: readonly SiteAddress[];
  /** Elapsed time at which the heartbeat was sent. */
  readonly sentAtMs: number;
  readonly selfStopMs: number;
}

/** The last round of questions for one group. */
export interface VouchRound {
  readonly group: string;
  readonly epoch: bigint;
  readonly by: readonly string[];
  /** Sites that did not vouch, each with the code of its answer. */
  readonly missing: readonly { readonly site: string; readonly code: string }[];
}

type Ports = Pick<Site, 'name' | 'clock' | 'journal' | 'leases' | 'places' | 'peers' | 'log'>;

export class VouchedLeases {
  readonly #site: Ports;
  #rights = new Map<string, VouchRight>();
  /** Elapsed time at which a coordinator answered last. */
  #answeredMs: number | undefined;
  readonly #rounds = new Map<string, VouchRound>();

  constructor(site: Ports) {
    this.#site = site;
  }

  /** A coordinator has answered: these leases, and no others. */
  granted(rights: readonly VouchRight[]): void {
    this.#answeredMs = elapsedMs(this.#site.clock);
    for (const { group } of this.#rounds.values())
      this.#site.log.info('a coordinator answers again', { group, lease: rights.some((one) => one.group === group) });
    this.#rounds.clear();
    this.#rights = new Map(rights.map((right) => [right.group, right]));
  }

  /** A coordinator has refused this process: another one speaks for this site. */
  refused(): void {
    this.#rights.clear();
    this.#rounds.clear();
  }

  /** Elapsed time at which a coordinator answered this process last; undefined where none has. */
  get answeredMs(): number | undefined {
    return this.#answeredMs;
  }

  /** Groups in which this process may ask others. */
  get groups(): string[] {
    return [...this.#rights.values()].filter(({ vouchers }) => vouchers.length > 0).map(({ group }) => group);
  }

  /** The sites that this process may ask for a group, by the last answer of a coordinator. */
  vouchersOf(group: string): string[] {
    return this.#rights.get(group)?.vouchers.map(({ site }) => site) ?? [];
  }

  /** How long ago the last heartbeat was sent that brought a lease; undefined where none did. */
  sinceGrantMs(group: string): number | undefined {
    const right = this.#rights.get(group);
    return right && elapsedMs(this.#site.clock) - right.sentAtMs;
  }

  /** The last round for a group, if one was needed since a coordinator has answered. */
  of(group: string): VouchRound | undefined {
    return this.#rounds.get(group);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.pass(signal);
      await this.#site.clock.sleep(ROUND_MS, signal);
    }
  }

  /** One round for each group whose coordinator has been silent for half of a lease. */
  async pass(signal: AbortSignal): Promise<void> {
    const nowMs = elapsedMs(this.#site.clock);
    const due = [...this.#rights.values()].filter(
      ({ vouchers, sentAtMs, selfStopMs }) => vouchers.length >= VOUCHERS_MIN && nowMs - sentAtMs > selfStopMs / 2,
    );
    await Promise.all(due.map((right) => this.#ask(right, signal)));
  }

  async #ask(right: VouchRight, signal: AbortSignal): Promise<void> {
    const { clock, journal, leases, places, peers, log } = this.#site;
    const { group, epoch, vouchers } = right;
    const run = journal.mark?.run;
    if (run === undefined || !this.#isActive(right)) return;
    // Before any question: a site that persists another epoch has answered before that.
    const sentAtMs = elapsedMs(clock);
    const answers = await Promise.all(
      vouchers.map(async (peer): Promise<{ site: string; code: string }> => {
        try {
          if (peer.address === '') return { site: peer.site, code: 'SITE_UNREACHABLE' };
          await peers.client(peer).vouch({ group, epoch, run }, { timeoutMs: ANSWER_MS, signal });
          return { site: peer.site, code: '' };
        } catch (thrown) {
          const { code, disposition } = AntipodeError.from(thrown);
          if (disposition === 'defect' && !(thrown instanceof AntipodeError)) throw thrown;
          return { site: peer.site, code };
        }
      }),
    );
    // A coordinator has answered meanwhile, or an order has ended the tenure.
    if (signal.aborted || this.#rights.get(group) !== right || !this.#isActive(right)) return;
    const missing = answers.filter(({ code }) => code !== '');
    const round = { group, epoch, by: vouchers.map(({ site }) => site), missing };
    const before = this.#rounds.get(group);
    this.#rounds.set(group, round);
    const text = JSON.stringify(missing);
    if (before === undefined || JSON.stringify(before.missing) !== text)
      log.warn(
        missing.length === 0
          ? 'no coordinator answers; all other voting sites vouch for this active member, and it goes on'
          : 'no coordinator answers, and not every other voting site vouches for this active member',
        {
          group,
          epoch,
          vouching: round.by.filter((site) => !missing.some((one) => one.site === site)).join(),
          missing: text,
        },
      );
    if (missing.length > 0) return;
    leases.grant({ group, epoch, sentAtMs, selfStopMs: VOUCH_STOP_MS });
    places.confirmed(group, { epoch, sentAtMs });
  }

  /** By this site's own journal, at this moment. */
  #isActive({ group, epoch }: VouchRight): boolean {
    const { name, journal } = this.#site;
    const { tenure } = journal;
    const fence = tenure.fence(group);
    return (
      fence?.epoch === epoch &&
      fence.owner === name &&
      tenure.seat(group)?.role === 'active' &&
      tenure.quarantine(group) === undefined
    );
  }
}
