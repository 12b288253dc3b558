/**
 * Keeps one model of what the coordinator says, for all pages. It asks again and again, and each answer becomes the
 * entries that have changed. If the coordinator does not answer, the pages learn it at once, and the model stays.
 */
import type { Client, GetStatusResponse, OperatorService } from '@antipode/protocol';
import { AntipodeError, type Clock, type Closeable, every, type Prng, silentLog } from '@antipode/runtime';
import type { Entries, Entry, Link, Told, Update } from './entries.ts';
import { entriesOf } from './fleet.ts';
import { Instants } from './instants.ts';

/** Often enough that a lost site is shown within a second of the coordinator's verdict. */
const ASK_MS = 500;
/** A status that takes long is asked for less often: the dashboard asks for a third of the time at most. */
const REST_FACTOR = 2;
/** Silence after which the coordinator counts as lost, although the call goes on. */
const LATE_MS = 1_500;
const CALL_MS = 10_000;

export interface WatchPorts {
  readonly operator: Pick<Client<typeof OperatorService>, 'getStatus'>;
  readonly clock: Clock;
  readonly prng: Prng;
}

type Listener = (update: Update) => void;

export class Watch implements Closeable {
  readonly #ports: WatchPorts;
  readonly #instants = new Instants();
  readonly #listeners = new Set<Listener>();
  readonly #stop = new AbortController();
  #entries = new Map<string, { readonly entry: Entry; readonly text: string }>();
  #link: Link;
  #restMs = ASK_MS;
  #loop: Promise<void> | undefined;

  constructor(ports: WatchPorts) {
    this.#ports = ports;
    this.#link = { state: 'connecting', since: ports.clock.wallMs() };
  }

  start(): void {
    const { clock, prng } = this.#ports;
    this.#loop = every({
      name: 'watch the coordinator',
      clock,
      prng,
      log: silentLog,
      intervalMs: () => this.#restMs,
      signal: this.#stop.signal,
      work: (signal) => this.#ask(signal),
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  get link(): Link {
    return this.#link;
  }

  entry(key: string): Entry | undefined {
    return this.#entries.get(key)?.entry;
  }

  /** Everything, as the first event of a page. */
  whole(): Update {
    const put: Entries = Object.fromEntries([...this.#entries].map(([key, { entry }]) => [key, entry]));
    return { now: this.#ports.clock.wallMs(), link: this.#link, isWhole: true, put, drop: [] };
  }

  /** Called with each change, and with each answer that changed nothing: a page counts on being told. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { operator, clock } = this.#ports;
    const startedMs = clock.monotonicMs();
    const isDone = new AbortController();
    const late = clock.sleep(LATE_MS, AbortSignal.any([signal, isDone.signal])).then(() => {
      if (isDone.signal.aborted || signal.aborted) return;
      this.#lost({
        code: 'TIMED_OUT',
        message: `the coordinator has not answered for ${LATE_MS / 1_000} s`,
        hint: 'Check the coordinator and the way to it.',
      });
    });
    try {
      this.#heard(await operator.getStatus({}, { timeoutMs: CALL_MS, signal }));
    } catch (thrown) {
      if (signal.aborted) return;
      const error = AntipodeError.from(thrown);
      if (error.disposition === 'defect') throw error;
      this.#lost(toldOf(error));
    } finally {
      isDone.abort();
      await late;
      this.#restMs = Math.max(
        ASK_MS,
        (clock.monotonicMs() - startedMs) * (this.#link.state === 'live' ? REST_FACTOR : 0),
      );
    }
  }

  #heard(status: GetStatusResponse): void {
    const nowMs = this.#ports.clock.wallMs();
    this.#instants.begin(nowMs);
    const next = new Map(
      [...entriesOf(status, this.#instants)].map(([key, entry]) => [key, { entry, text: JSON.stringify(entry) }]),
    );
    const put = [...next].filter(([key, { text }]) => this.#entries.get(key)?.text !== text);
    const drop = [...this.#entries.keys()].filter((key) => !next.has(key));
    this.#entries = next;
    const since = this.#link.state === 'live' ? this.#link.since : nowMs;
    this.#link = { state: 'live', heardAt: nowMs, since };
    this.#tell({ put: Object.fromEntries(put.map(([key, { entry }]) => [key, entry])), drop });
  }

  #lost(error: Told): void {
    const { heardAt, state, since } = this.#link;
    this.#link = {
      state: 'lost',
      ...(heardAt === undefined ? {} : { heardAt }),
      since: state === 'lost' ? since : this.#ports.clock.wallMs(),
      error,
    };
    this.#tell({ put: {}, drop: [] });
  }

  #tell({ put, drop }: Pick<Update, 'put' | 'drop'>): void {
    const update: Update = { now: this.#ports.clock.wallMs(), link: this.#link, isWhole: false, put, drop };
    for (const listener of this.#listeners) listener(update);
  }
}

export const toldOf = (error: AntipodeError): Told => ({
  code: error.code,
  message: error.message.replace(`[${error.code}] `, ''),
  hint: error.hint,
});
