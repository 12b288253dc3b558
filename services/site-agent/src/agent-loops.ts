/** The loops of an agent beside its heartbeats. They look after partitions, journal, peers and store. */
import { type Closeable, every, type LoopWatch } from '@antipode/runtime';
import type { Site } from './site.ts';

/** Some captures come in between, each with a manifest. */
const RETIRE_INTERVAL_MS = 10 * 60_000;

/** How often a partition that could not be opened is tried again. The login guard keeps that from costing PIN attempts. */
const REOPEN_INTERVAL_MS = 5_000;

/** How often what the store has lost is asked for again. Where nothing is lost, a pass looks at memory only. */
const MEND_INTERVAL_MS = 5_000;

/**
 * More often than an idle connection is forgotten by what lies between two sites, and often enough for people to see what
 * has changed.
 */
const KEEP_WARM_MS = 5_000;

/** How often the journal is tried: what keeps it from being written shows in `status` before an order needs it. */
const JOURNAL_INTERVAL_MS = 5_000;
const JOURNAL_ATTEMPTS = 5;
const JOURNAL_PAUSE_MS = 300;

/** Compares the list of revoked certificates with that of others. */
export interface RevocationRounds {
  readonly intervalMs: () => number;
  readonly pass: (signal: AbortSignal) => Promise<void>;
}

export class AgentLoops implements Closeable {
  readonly #site: Site;
  readonly #revocations: RevocationRounds | undefined;
  readonly #watch: LoopWatch | undefined;
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  /** Resolves when each partition has been tried once. Of use after `start`. */
  tried: Promise<void> = Promise.resolve();

  constructor({
    site,
    watch,
    revocations,
  }: {
    site: Site;
    watch?: LoopWatch | undefined;
    /** Absent where no network is. */
    revocations?: RevocationRounds;
  }) {
    this.#site = site;
    this.#revocations = revocations;
    this.#watch = watch;
  }

  start(): void {
    const { clock, prng, log, partitions, peers, mender, retention, collector, observations } = this.#site;
    const revocations = this.#revocations;
    const loop = (
      name: string,
      intervalMs: number | (() => number),
      work: (signal: AbortSignal) => Promise<void>,
      watch?: LoopWatch,
    ): Promise<void> =>
      every({ name, clock, prng, log, intervalMs, backoffIntervalsMax: 1, signal: this.#stop.signal, watch, work });
    const tried = partitions.all.map(() => Promise.withResolvers<void>());
    this.tried = Promise.all(tried.map(({ promise }) => promise)).then(() => {});
    this.#loops = Promise.all([
      ...partitions.all.map((partition, at) =>
        loop(`open ${partition.settings.name}`, REOPEN_INTERVAL_MS, () =>
          partition.warmUp().finally(() => tried[at]?.resolve()),
        ),
      ),
      loop('write journal', JOURNAL_INTERVAL_MS, (signal) => this.#watchJournal(signal), this.#watch),
      loop('keep peers connected', KEEP_WARM_MS, (signal) =>
        peers.keepWarm(signal, (site, reached) => {
          if (!signal.aborted) observations.note(site, reached);
        }),
      ),
      ...(revocations === undefined
        ? []
        : [loop('compare revocations', revocations.intervalMs, (signal) => revocations.pass(signal))]),
      loop('mend store', MEND_INTERVAL_MS, (signal) => mender.mendAll(signal)),
      loop('retire generations', RETIRE_INTERVAL_MS, async (signal) => {
        await retention.pass(signal);
        await collector.pass(signal);
      }),
    ]);
  }

  /** No pass begins any more. */
  stop(): void {
    this.#stop.abort();
  }

  /** Resolves when the passes under way have ended. */
  async close(): Promise<void> {
    this.stop();
    await this.#loops;
  }

  /** @throws FILE_BUSY, FILE_UNWRITABLE, for the loop to say it once, and again when it is over */
  async #watchJournal(signal: AbortSignal): Promise<void> {
    const { journal, clock } = this.#site;
    // A command that holds the lock for a moment causes no alarm.
    for (let attempt = 0; attempt < JOURNAL_ATTEMPTS && journal.check()?.code === 'FILE_BUSY'; attempt += 1)
      await clock.sleep(JOURNAL_PAUSE_MS, signal);
    if (journal.fault !== undefined) throw journal.fault;
  }
}
