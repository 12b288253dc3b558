/** Connections to the agents, at the addresses that they announced. */
import {
  type Client,
  createClient,
  type JournalMark,
  type LinkLimits,
  linkLimits,
  SiteAgentService,
  type Tls,
} from '@antipode/protocol';
import { AntipodeError, type Clock, type Closeable, hasCode, systemClock } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import { PROFILES, type Timings } from '../timings.ts';
import { toProcess } from './addressee.ts';
import type { SiteView } from './detector.ts';
import { startingOrders } from './started-orders.ts';
import { inTerm } from './terms.ts';

export type Agent = Client<typeof SiteAgentService>;

/** Makes the connection to the agent of a site. It opens when it is first used. */
export type Dial = (at: { readonly site: string; readonly address: string; readonly link: LinkLimits }) => Agent;

/** Over mutual TLS, where only the agent of that site may answer. */
export const dialOverTls =
  (tls: Tls): Dial =>
  ({ site, address, link }) =>
    createClient(SiteAgentService, { address, tls, expected: { kind: 'site', name: site }, link: () => link });

export interface AgentsOptions {
  readonly dial: Dial;
  readonly addressOf: (site: string) => string | undefined;
  /** The process that speaks for a site; empty before this coordinator has heard one. */
  readonly instanceOf: (site: string) => string;
  /** Every order names the term of this coordinator, and is sent only while that lasts. */
  readonly election: Pick<Leadership, 'require'>;
  readonly clock?: Clock;
  readonly timings?: Timings;
  /** Told of the journal in which a site has on record what it answers. */
  readonly onJournal?: (site: string, mark: JournalMark) => void;
}

export class Agents implements Closeable {
  readonly #dial: Dial;
  readonly #addressOf: (site: string) => string | undefined;
  readonly #instanceOf: (site: string) => string;
  readonly #election: Pick<Leadership, 'require'>;
  readonly #clock: Clock;
  readonly #timings: Timings;
  readonly #link: LinkLimits;
  readonly #clients = new Map<string, { address: string; client: Agent; connection: Agent }>();
  readonly #onJournal: NonNullable<AgentsOptions['onJournal']>;
  readonly #closed = new AbortController();

  constructor({
    dial,
    addressOf,
    instanceOf,
    election,
    clock = systemClock,
    timings = PROFILES.default,
    onJournal = () => {},
  }: AgentsOptions) {
    this.#onJournal = onJournal;
    this.#dial = dial;
    this.#addressOf = addressOf;
    this.#instanceOf = instanceOf;
    this.#election = election;
    this.#clock = clock;
    this.#timings = timings;
    this.#link = linkLimits(timings.roundTripMsMax);
  }

  /** @throws SITE_UNREACHABLE when no address is known yet */
  client(site: string): Agent {
    const address = this.#closed.signal.aborted ? undefined : this.#addressOf(site);
    if (address === undefined || address === '')
      throw new AntipodeError('SITE_UNREACHABLE', `site ${site} has not reported yet`, { details: { site } });
    const known = this.#clients.get(site);
    if (known?.address === address) return known.client;
    known?.client.close();
    const connection = this.#dial({ site, address, link: this.#link });
    const addressed = toProcess(connection, { site, instance: () => this.#instanceOf(site) });
    const client = startingOrders(inTerm(addressed, this.#election), {
      clock: this.#clock,
      callMs: this.#link.connectMs,
      patienceMs: this.#timings.suspectMs,
      closed: this.#closed.signal,
      onJournal: (mark) => this.#onJournal(site, mark),
    });
    this.#clients.set(site, { address, client, connection });
    return client;
  }

  /** The site was heard after a silence: whoever waits for a connection to it does not wait for an attempt of before. */
  reconnect(site: string): void {
    this.#clients.get(site)?.connection.reconnect?.();
  }

  address(site: string): { site: string; address: string } {
    return { site, address: this.#addressOf(site) ?? '' };
  }

  /** For the detector: what one site says of another. */
  async probe(observer: SiteView, suspect: SiteView, timeoutMs: number): Promise<boolean | undefined> {
    try {
      const { reachable, observerLoopDelayMs } = await this.client(observer.site).probePeer(
        { peer: { site: suspect.site, address: suspect.address }, timeoutMs },
        { timeoutMs: timeoutMs * 2 },
      );
      // An observer that was late itself has seen nothing.
      return !reachable && observerLoopDelayMs > timeoutMs ? undefined : reachable;
    } catch (thrown) {
      // Whatever the observer's trouble is, it has not looked.
      if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
      return undefined;
    }
  }

  /**
   * A probe, a survey or a fence must not wait for a connection to be made: four round trips on a long link.
   * @param told receives the answer of each site: heartbeats do not show that calls to it arrive
   */
  async keepWarm(
    sites: readonly string[],
    told: (site: string, error: AntipodeError | undefined) => void = () => {},
  ): Promise<void> {
    await Promise.all(
      sites.map(async (site) => {
        try {
          await this.client(site).ping({}, { timeoutMs: this.#link.answerMs });
          told(site, undefined);
        } catch (thrown) {
          // Whether a site can be reached is decided by the detector, and by the order that needs it.
          const error = AntipodeError.from(thrown);
          if (error.disposition === 'defect') throw thrown;
          // Of a coordinator that has lost the lead, or is being closed, this says nothing about the site.
          if (!this.#closed.signal.aborted && !hasCode(error, 'LEADERSHIP_LOST', 'NOT_LEADER')) told(site, error);
        }
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
