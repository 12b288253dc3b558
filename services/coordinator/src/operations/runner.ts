/**
 * Runs intents: asks the machine what to do, persists where it is then, and only after that performs. A crash between the
 * two repeats the effect (I9). Counts the attempts and says when the next is due.
 */
import { isUnreachable } from '@antipode/protocol';
import { AntipodeError, backoffMs, type Clock, hasCode, inSpan, inTrace, type Log, type Prng } from '@antipode/runtime';
import { agoMs } from '../calendar/timeline.ts';
import { inEpoch, type Leadership } from '../election.ts';
import type { OperationMeter } from '../metrics/operation-meter.ts';
import type { Failure, IntentStatus, OrderFailure, Resume, Step } from '../model.ts';
import type { Store, Write } from '../store/store.ts';
import { type Intent, readFailed, readIntent, requestIdOf, updateIntent } from '../store/tables/intents.ts';
import type { Changes } from './changes.ts';
import type { EffectContext } from './context.ts';
import type { Kind, Phase, Typed } from './kind.ts';
import { KINDS, type Kinds } from './kinds.ts';

export interface RunnerPorts {
  readonly store: Store;
  readonly election: Leadership;
  readonly context: EffectContext;
  /** All kinds, unless a test puts other work behind the machines. */
  readonly kinds?: Kinds;
  readonly changes: Changes;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** Told of what is on record; absent where nobody measures. */
  readonly meter?: OperationMeter | undefined;
}

/** The longest pause between two attempts. */
export const ATTEMPT_PAUSE_MS_MAX = 30_000;
const BACKOFF = { baseMs: 250, capMs: ATTEMPT_PAUSE_MS_MAX };
/** How often an intent that waits for another operation of its group looks again. */
const BUSY_RETRY_MS = 1_000;
/** More transitions than any machine has: a loop that does not end is a defect. */
const STEPS_MAX = 50;

const RESUME: Resume = { type: 'resume' };

export class Runner {
  readonly #ports: RunnerPorts;
  readonly #running = new Map<string, Promise<void>>();
  /** Operations that this process has parked as stuck and logged. */
  readonly #stuck = new Set<string>();

  constructor(ports: RunnerPorts) {
    this.#ports = ports;
  }

  /**
   * Takes one intent as far as it goes, in the epoch of this moment. Joined when it runs already in that epoch. A run of
   * an earlier one writes nothing more: another leader may have continued where it began.
   * @throws LEADERSHIP_LOST; what the runner of the queue should retry; everything else is settled in the database
   */
  async run(id: string): Promise<void> {
    const epoch = this.#ports.election.require();
    const key = keyOf(id, epoch);
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const run = this.#run(id, this.#inEpoch(epoch)).finally(() => this.#running.delete(key));
    this.#running.set(key, run);
    return run;
  }

  isRunning(id: string): boolean {
    const { epoch } = this.#ports.election;
    return epoch !== undefined && this.#running.has(keyOf(id, epoch));
  }

  #inEpoch(epoch: bigint): RunnerPorts {
    const { election, context } = this.#ports;
    return { ...this.#ports, election: inEpoch(election, epoch), context: context.inEpoch(epoch) };
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  async #run(id: string, ports: RunnerPorts): Promise<void> {
    const intent = await ports.store.query((db) => readIntent(db, id));
    if (intent === undefined || intent.status !== 'open') return;
    await inTrace(intent.trace, () =>
      inSpan(
        `run ${intent.kind}`,
        { 'antipode.intent': id, 'antipode.group': intent.group, 'antipode.site': intent.site },
        () => this.#advance(intent, ports),
      ),
    );
  }

  /**
   * One operation that cannot go on must not stop the others. Another release may have written its row, or its machine
   * has a defect. Either way a crash would repeat at every start, so the operation is parked instead.
   */
  async #advance(intent: Intent, ports: RunnerPorts): Promise<void> {
    try {
      await this.#steps(intent, ports);
      this.#stuck.delete(intent.id);
    } catch (thrown) {
      if (!hasCode(thrown, 'OPERATION_STUCK')) throw thrown;
      await this.#park(intent, AntipodeError.from(thrown), ports);
    }
  }

  async #steps(intent: Intent, ports: RunnerPorts): Promise<void> {
    const kinds: Kinds = ports.kinds ?? KINDS;
    const kind = kinds[intent.kind];
    if (kind === undefined) throw stuck(intent, 'this release does not know its kind');
    let step = decide(intent, kind, intent.state, RESUME);
    // Of this phase: what has moved on has not failed so often.
    let { attempts } = intent;
    for (let count = 0; ; count += 1) {
      // A resumed effect keeps its number, and joins the order that may be under way.
      const now = { ...performing(intent, intent.performing + count), attempts };
      if (count > STEPS_MAX) throw stuck(intent, `its machine has not ended after ${STEPS_MAX} steps`);
      // A person may have ended it while the effect ran: what came of that is nobody's any more.
      if (!(await this.#persist(now, { kind, step, ports }))) return;
      if (step.effect === undefined) return;
      const { phase } = step.state;
      step = decide(intent, kind, step.state, await this.#perform(now, { kind, effect: step.effect, ports }));
      if (step.effect !== undefined && step.state.phase !== phase) attempts = 0;
    }
  }

  /** Keeps the state as it is: the release that knows it continues from there. */
  async #park(intent: Intent, error: AntipodeError, ports: RunnerPorts): Promise<void> {
    const { store, election, clock, changes, log } = ports;
    const { id, kind, group, site, errorCode } = intent;
    const { code, message } = error;
    const nowMs = clock.wallMs();
    // The fault is here, not at the site of the operation.
    const failure: OrderFailure = { ...orderFailure(error, intent, nowMs), site: '' };
    const isParked = await store.write(election.require(), async (trx, record) => {
      const change = { status: 'parked', errorCode: code, errorMessage: message, failure } as const;
      const isOpen = await updateIntent(trx, id, change, nowMs);
      if (isOpen && errorCode !== code) record({ kind: 'operation-stuck', group, site, details: { intent: id, kind } });
      return isOpen;
    });
    if (!isParked) return;
    // The planner opens it again from time to time. One line a process is enough.
    log.at(this.#stuck.has(id) ? 'debug' : 'error', 'an operation cannot continue and is parked; all others continue', {
      kind,
      group,
      site,
      intent: id,
      error,
    });
    this.#stuck.add(id);
    changes.announce(id);
  }

  /** @returns false where the intent has ended meanwhile */
  async #persist(
    intent: Intent,
    { kind, step: { state, effect }, ports }: { kind: Kind; step: Step<Phase, Typed>; ports: RunnerPorts },
  ): Promise<boolean> {
    const { store, election, clock, changes, log } = ports;
    const status = effect === undefined ? kind.phases[state.phase]! : 'open';
    const code = 'code' in state && typeof state.code === 'string' ? state.code : '';
    const message = 'message' in state && typeof state.message === 'string' ? state.message : '';
    const nowMs = clock.wallMs();
    const last = firstFailure(state);
    const isKept = await store.write(election.require(), async (trx, record) => {
      const isOpen = await updateIntent(
        trx,
        intent.id,
        {
          state,
          status,
          performing: intent.performing,
          attempts: intent.attempts,
          ...(status === 'open'
            ? {}
            : {
                errorCode: code || last.code,
                // The message of the machine, or else the one that was recorded when the order failed.
                ...(status === 'done' || message !== '' || last.message !== ''
                  ? { errorMessage: message || last.message }
                  : {}),
              }),
        },
        nowMs,
      );
      if (isOpen && status !== 'open' && (await isNews(trx, intent, { kind, status, code: code || last.code, nowMs })))
        record({
          kind: `${intent.kind}-${state.phase}`,
          group: intent.group,
          site: intent.site,
          details: { intent: intent.id, code },
        });
      return isOpen;
    });
    if (isKept && status !== 'open')
      log.at(status === 'done' ? 'info' : 'warn', `${intent.kind} ${state.phase}`, {
        group: intent.group,
        site: intent.site,
        intent: intent.id,
        ...(code === '' ? {} : { code }),
      });
    if (isKept && status !== 'open') ports.meter?.ended(intent, { status, nowMs, found: kind.outcome?.(state) });
    changes.announce(intent.id);
    return isKept;
  }

  async #perform(
    intent: Intent,
    { kind, effect, ports }: { kind: Kind; effect: Typed; ports: RunnerPorts },
  ): Promise<Typed> {
    const { store, election, context, clock, prng, log } = ports;
    try {
      return await inSpan(effect.type, { 'antipode.intent': intent.id }, () => kind.perform(context, intent, effect));
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      const { code, disposition, message } = error;
      if (disposition === 'defect' || code === 'LEADERSHIP_LOST') throw error;
      // A site has heard a later leader, or this database is older than what it has heard: nothing of this has failed.
      if (code === 'TERM_STALE')
        throw new AntipodeError('LEADERSHIP_LOST', `a site has heard a later term: ${message}`, { cause: error });
      const failure = orderFailure(error, intent, clock.wallMs());
      const { id, group } = intent;
      // An operation that waits for another one has not failed: the runner goes on, and its intervals do not grow.
      const isWaiting = code === 'GROUP_BUSY';
      if (!isWaiting) ports.meter?.orderFailed({ kind: intent.kind, site: failure.site, code });
      log.at(isWaiting ? 'debug' : 'warn', 'order failed', {
        kind: intent.kind,
        group,
        site: failure.site,
        effect: effect.type,
        request: intent.requestId,
        error,
      });
      const current = await store.query((db) => readIntent(db, id));
      const attempts = (current?.attempts ?? 0) + (isWaiting ? 0 : 1);
      const ageMs = agoMs({ nowMs: clock.wallMs(), stampMs: intent.createdMs });
      const isOver = attempts >= kind.attemptsMax && ageMs >= (kind.patienceMs ?? 0);
      const isGivenUp = disposition !== 'retry' || isOver;
      const nextAttemptMs = clock.wallMs() + (isWaiting ? BUSY_RETRY_MS : backoffMs(attempts, BACKOFF, prng));
      await store.write(election.require(), (trx) =>
        updateIntent(
          trx,
          id,
          {
            errorCode: code,
            errorMessage: message,
            failure,
            // Unknown is not failed: where nobody answered, the order may be under way, and is asked for again.
            ...(isGivenUp
              ? {}
              : { attempts, nextAttemptMs, performing: intent.performing + (isUnreachable(error) ? 0 : 1) }),
          },
          clock.wallMs(),
        ),
      );
      if (isGivenUp) {
        const failed: Failure = { type: 'failed', code, disposition, message };
        return failed;
      }
      ports.changes.announce(id);
      throw error;
    }
  }
}

/** Of one intent in one epoch. */
const keyOf = (id: string, epoch: bigint): string => `${epoch} ${id}`;

const performing = (intent: Intent, number: number): Intent => ({
  ...intent,
  performing: number,
  requestId: requestIdOf({ id: intent.id, performing: number }),
});

/** Where an order failed, and what the device there answered, as far as the error tells. */
function orderFailure({ code, message, details, ownHint }: AntipodeError, intent: Intent, atMs: number): OrderFailure {
  const [, answering] = /^site (\S+)$/.exec(String(details['answeredBy'] ?? details['peer'] ?? '')) ?? [];
  const site = answering ?? (typeof details['site'] === 'string' ? details['site'] : intent.site);
  const returnValue = typeof details['returnValue'] === 'string' ? details['returnValue'] : '';
  return {
    code,
    message: message.replace(`[${code}] `, ''),
    site,
    returnValue,
    atMs,
    requestId: intent.requestId,
    ...(ownHint === undefined ? {} : { hint: ownHint }),
  };
}

/**
 * Whether the end of an intent is worth an event. The good end of a routine kind is not: its effect records what it found.
 * A failure that repeats for one reason is recorded once an hour.
 */
async function isNews(
  trx: Write,
  intent: Intent,
  { kind, status, code, nowMs }: { kind: Kind; status: IntentStatus; code: string; nowMs: number },
): Promise<boolean> {
  if (status === 'done') return kind.isRoutine !== true;
  const { id, group, site } = intent;
  const former = (await readFailed(trx, group)).find(
    (one) => one.kind === intent.kind && one.site === site && one.id !== id && one.errorCode === code,
  );
  return former === undefined || Math.floor(former.updatedMs / HOUR_MS) !== Math.floor(nowMs / HOUR_MS);
}

const HOUR_MS = 3_600_000;

/** A step of the machine, checked: it asks for an effect, or has ended. @throws OPERATION_STUCK */
function decide(intent: Intent, kind: Kind, state: Phase, event: Parameters<Kind['decide']>[1]): Step<Phase, Typed> {
  const { phase } = state;
  if (kind.phases[phase] === undefined) throw stuck(intent, `this release does not know its phase ${phase}`);
  let step: Step<Phase, Typed> | undefined;
  try {
    step = kind.decide(state, event);
  } catch (cause) {
    throw stuck(intent, `its machine failed in phase ${phase}`, cause);
  }
  if (step === undefined) throw stuck(intent, `its machine has no step in phase ${phase}`);
  const { effect, state: next } = step;
  if (effect !== undefined) return step;
  const meaning = kind.phases[next.phase];
  if (meaning === undefined || meaning === 'open')
    throw stuck(intent, `its machine stopped in phase ${next.phase}, which is not an end`);
  return step;
}

function stuck({ id, kind, group }: Intent, why: string, cause?: unknown): AntipodeError {
  return new AntipodeError('OPERATION_STUCK', `the ${kind} cannot continue: ${why}`, {
    details: { operation: id, group },
    ...(cause === undefined ? {} : { cause }),
  });
}

function firstFailure(state: object): { code: string; message: string } {
  const failures =
    'failures' in state && Array.isArray(state.failures)
      ? (state.failures as { code: string; message: string; serial: string }[])
      : [];
  const [first] = failures;
  return first === undefined
    ? { code: '', message: '' }
    : {
        code: first.code,
        message: first.serial === '' ? first.message : `partition ${first.serial}: ${first.message}`,
      };
}
