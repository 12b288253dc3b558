/**
 * The agent's side of one HSM worker process: sends calls, collects answers, and gives the process up when it hangs.
 * Ends the process when it is lost; then it is dead for good, and says in which call.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import type { PartitionConfig } from '../session/session.ts';
import type { CallCount } from './call-tally.ts';
import type { GroupEpoch } from './epoch-floors.ts';
import { type Call, type FromWorker, METHODS, type ToWorker } from './messages.ts';

export interface WorkerOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Work that shows no sign of life for longer has hung: the worker is killed and the call reported. */
  readonly callTimeoutMs?: number;
  /** Told of every sign of life. */
  readonly onAlive?: () => void;
  /** Told of the calls of the module, some at a time. */
  readonly onCalls?: ((calls: readonly CallCount[]) => void) | undefined;
  /** A worker that has not ended by then is killed. */
  readonly closeTimeoutMs?: number;
  /** A slot that does not tell its token by then is skipped. */
  readonly slotTimeoutMs?: number;
  /**
   * The token is changed under a tenure only ({@link WorkerProvider.under}), and only after {@link WorkerProvider.raise}.
   * Not for commands of a person: they act in no tenure.
   */
  readonly isFenced?: boolean;
}

/**
 * Longer than the slowest operation of a token (an RSA-8192 key on a small card), shorter than an operator's patience.
 */
const CALL_TIMEOUT_MS = 10 * 60_000;
/** Whatever signs of life there are: a device whose list has no end would hold up its partition for ever. */
const WORK_TIMEOUT_MS = 2 * 3_600_000;

/** Of a short call a hang shows within a minute. */
const SHORT_CALL_TIMEOUT_MS = 60_000;

/** A network HSM that answers at all does so long before. */
const SLOT_TIMEOUT_MS = 10_000;

/** Module start, login and the self-test with throw-away keys. */
const OPEN_TIMEOUT_MS = 2 * 60_000;

/**
 * Longer than one batch of persistent unwraps on a disk, which is better not cut short; shorter than a service manager
 * waits.
 */
const CLOSE_TIMEOUT_MS = 30_000;

/** Where programs are, and where this process keeps compiled code: the worker runs the same files as the same user. */
function inherited(): Record<string, string> {
  const { PATH = '', HOME = '', NODE_COMPILE_CACHE: cache = '' } = process.env;
  return { PATH, HOME, ...(cache === '' ? {} : { NODE_COMPILE_CACHE: cache }) };
}

interface Waiting {
  readonly method: string;
  readonly parts: unknown[];
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AntipodeError) => void;
  /** When it was asked, or came back into the line. */
  askedMs: number;
  /** It waits for other devices: no sign of life of this one is due. */
  isBeside: boolean;
}

export class WorkerProcess {
  readonly #process: ChildProcess;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #callTimeoutMs: number;
  readonly #closeTimeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  readonly #slotTimeoutMs: number;
  residentBytes = 0;
  /** The slot whose silence has ended it. */
  silentSlot: bigint | undefined;
  #asking = new AbortController();
  #nextId = 1;
  #lost: AntipodeError | undefined;
  #isClosing = false;
  readonly #onAlive: () => void;
  readonly #onCalls: (calls: readonly CallCount[]) => void;
  /** The last sign of life. The worker does one thing at a time, so it is one for all that wait. */
  #aliveMs = 0;

  constructor({ environment }: PartitionConfig, options: WorkerOptions) {
    const { log, clock, callTimeoutMs = CALL_TIMEOUT_MS, closeTimeoutMs = CLOSE_TIMEOUT_MS } = options;
    this.#slotTimeoutMs = options.slotTimeoutMs ?? SLOT_TIMEOUT_MS;
    this.#log = log;
    this.#clock = clock;
    this.#callTimeoutMs = callTimeoutMs;
    this.#closeTimeoutMs = closeTimeoutMs;
    this.#onAlive = options.onAlive ?? (() => {});
    this.#onCalls = options.onCalls ?? (() => {});
    this.#process = fork(fileURLToPath(new URL('./main.ts', import.meta.url)), [String(process.pid)], {
      serialization: 'advanced',
      // Output of a vendor library must not mix with the output of the agent.
      stdio: ['ignore', 2, 2, 'ipc'],
      execArgv: [],
      env: { ...inherited(), ...environment },
    });
    this.#process.on('message', (message: FromWorker) => this.#settle(message));
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#lose(how);
        resolve();
      };
      this.#process.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      this.#process.once('error', (error) => end(error.message));
    });
  }

  /** @param call its `signal` ends the copy of a `cloneNative` */
  call(
    { method, args, tenure, signal }: Omit<Call, 'id'> & { signal?: AbortSignal | undefined },
    timeoutMs: number = this.#limitOf(method),
  ): Promise<unknown> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const answered = new AbortController();
    const askedMs = this.#clock.monotonicMs();
    const waiting = { method, parts: [], resolve, reject, askedMs, isBeside: false };
    this.#waiting.set(id, waiting);
    void this.#watch(waiting, { timeoutMs, signal: answered.signal });
    this.#send({ id, method, args, tenure });
    const abandon = (): void => this.#send({ abandon: id });
    signal?.addEventListener('abort', abandon, { signal: answered.signal });
    if (signal?.aborted) abandon();
    return promise.finally(() => answered.abort());
  }

  #send(message: ToWorker): void {
    this.#process.send(message, (error) => {
      if (error !== null) this.#lose(error.message);
    });
  }

  /** On its way before anything that is asked for afterwards. */
  raise(floors: readonly GroupEpoch[]): void {
    if (this.#lost !== undefined || this.#isClosing) return;
    this.#send({ floors });
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  get unansweredMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const due = [...this.#waiting.values()].filter(({ isBeside }) => !isBeside);
    return Math.max(0, ...due.map(({ askedMs }) => nowMs - Math.max(askedMs, this.#aliveMs)));
  }

  get idleMs(): number {
    return this.#waiting.size > 0 ? 0 : this.#clock.monotonicMs() - this.#aliveMs;
  }

  /** Gives the worker up where it shows no sign of life for so long, or works for longer than anything takes. */
  async #watch(waiting: Waiting, { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }): Promise<void> {
    const { method, askedMs } = waiting;
    for (;;) {
      const nowMs = this.#clock.monotonicMs();
      const quietMs = waiting.isBeside ? 0 : nowMs - Math.max(waiting.askedMs, this.#aliveMs);
      if (quietMs >= timeoutMs) return this.#lose(`no answer to ${method} in ${timeoutMs} ms`);
      if (nowMs - askedMs >= WORK_TIMEOUT_MS) return this.#lose(`${method} did not end within ${WORK_TIMEOUT_MS} ms`);
      await this.#clock.sleep(Math.ceil(timeoutMs - quietMs), signal);
      if (signal.aborted) return;
    }
  }

  async close(): Promise<void> {
    if (!this.#isClosing && this.#lost === undefined) {
      const closed = this.call({ method: 'close', args: [] }, this.#closeTimeoutMs).catch(() => undefined);
      this.#isClosing = true;
      await closed;
    }
    this.#isClosing = true;
    if (this.#process.connected) this.#process.disconnect();
    await this.#ended;
  }

  #limitOf(method: Call['method']): number {
    if (method === 'open') return Math.min(this.#callTimeoutMs, OPEN_TIMEOUT_MS);
    return method !== 'close' && METHODS[method].startsWith('short')
      ? Math.min(this.#callTimeoutMs, SHORT_CALL_TIMEOUT_MS)
      : this.#callTimeoutMs;
  }

  #settle(message: FromWorker): void {
    if ('calls' in message) {
      this.#onCalls(message.calls);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#aliveMs = this.#clock.monotonicMs();
    this.#onAlive();
    if ('isAlive' in message) return;
    if ('isBeside' in message) {
      Object.assign(waiting, { isBeside: message.isBeside, askedMs: this.#clock.monotonicMs() });
      return;
    }
    if ('asking' in message) {
      this.#awaitSlot(message.asking);
      return;
    }
    if ('part' in message) {
      waiting.parts.push(...message.part);
      return;
    }
    this.#waiting.delete(message.id);
    if ('error' in message)
      waiting.reject(
        new AntipodeError(message.error.code, message.error.message, {
          details: message.error.details,
          hint: message.error.hint,
        }),
      );
    else {
      const { result, listAs, residentBytes } = message;
      this.residentBytes = residentBytes;
      if (listAs !== undefined) waiting.resolve({ ...(result as object), [listAs]: waiting.parts });
      else waiting.resolve(waiting.parts.length > 0 ? waiting.parts : result);
    }
  }

  #awaitSlot(slot: bigint | undefined): void {
    this.#asking.abort();
    if (slot === undefined) return;
    const answered = new AbortController();
    this.#asking = answered;
    void this.#clock.sleep(this.#slotTimeoutMs, answered.signal).then(() => {
      if (answered.signal.aborted || this.#lost !== undefined) return;
      this.silentSlot = slot;
      this.#lose(`a slot did not report its token within ${this.#slotTimeoutMs} ms`);
    });
  }

  #lose(how: string): void {
    if (this.#lost !== undefined) return;
    this.#asking.abort();
    const calls = [...this.#waiting.values()].map(({ method }) => method);
    const details = { how, calls: calls.join(',') };
    this.#lost = new AntipodeError(
      'HSM_WORKER_LOST',
      `the HSM worker ended (${how})${calls.length > 0 ? ` during ${calls.join(', ')}` : ''}`,
      { details },
    );
    if (!this.#isClosing || calls.length > 0) this.#log.warn('HSM worker lost', details);
    for (const { reject } of this.#waiting.values()) reject(this.#lost);
    this.#waiting.clear();
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill('SIGKILL');
  }
}
