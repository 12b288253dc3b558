/**
 * Runs intents: asks the machine what to do, persists where it is then, and only after that performs. A crash between the
 * two repeats the effect (I9). Counts the attempts and says when the next is due.
 */
import { isUnreachable } from '@antipode/protocol';
import { AntipodeError, backoffMs, type Clock, inSpan, inTrace, type Log, type Prng } from '@antipode/runtime';
import { agoMs } from '../calendar/timeline.ts';
import type { Election } from '../election.ts';
import type { Failure, IntentKind, IntentStatus, OrderFailure, Resume, Step } from '../model.ts';
import type { Store, Write } from '../store/store.ts';
import { type Intent, readFailed, readIntent, requestIdOf, updateIntent } from '../store/tables/intents.ts';
import { type CaptureState, decideCapture } from './capture/machine.ts';
import type { Changes } from './changes.ts';
import { type DrillState, decideDrill } from './drill/machine.ts';
import type { Effects } from './effects.ts';
import { decideEnrolment, type EnrolmentState } from './enrolment/machine.ts';
import { decideFailover, type FailoverState } from './failover/machine.ts';
import { decideKeyRetirement, type KeyRetirementState } from './key-retirement/machine.ts';
import { decideRejoin, type RejoinState } from './rejoin/machine.ts';
import { decideReplication, type ReplicationState } from './replication/machine.ts';
import { decideReseat, type ReseatState } from './reseat/machine.ts';
import { decideScrub, type ScrubState } from './scrub/machine.ts';

export interface RunnerPorts {
  readonly store: Store;
  readonly election: Election;
  readonly effects: Effects;
  readonly changes: Changes;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
}

/** The longest pause between two attempts. */
export const ATTEMPT_PAUSE_MS_MAX = 30_000;
const BACKOFF = { baseMs: 250, capMs: ATTEMPT_PAUSE_MS_MAX };
/** How often an intent that waits for another operation of its group looks again. */
const BUSY_RETRY_MS = 1_000;
/**
 * After so many attempts the machine is told that it has failed. The planner sees anew what is due then, under the state
 * of that moment; a drill or a scrub that did not run counts as failed. A failover is not given up.
 */
const ATTEMPTS_MAX: Partial<Record<IntentKind, number>> = {
  enrolment: 10,
  capture: 20,
  replication: 20,
  drill: 6,
  scrub: 6,
  rejoin: 20,
  reseat: 4,
  'key-retirement': 6,
};
/**
 * What counts as failed when it did not run is given time for a site to restart: it has failed when it is as old as this,
 * too.
 */
const PATIENCE_MS: Partial<Record<IntentKind, number>> = { drill: 10 * 60_000, scrub: 10 * 60_000 };
/** More transitions than any machine has: a loop that does not end is a defect. */
const STEPS_MAX = 50;

type Settle = (state: { phase: string }, event: { type: string }) => Step<{ phase: string }, { type: string }>;
type Perform = (intent: Intent, effect: { type: string }) => Promise<{ type: string }>;

export class Runner {
  readonly #ports: RunnerPorts;
  readonly #running = new Map<string, Promise<void>>();

  constructor(ports: RunnerPorts) {
    this.#ports = ports;
  }

  /**
   * Takes one intent as far as it goes. Joined when it runs already.
   * @throws what the runner of the queue should retry; everything else is settled in the database
   */
  run(id: string): Promise<void> {
    const running = this.#running.get(id);
    if (running !== undefined) return running;
    const run = this.#run(id).finally(() => this.#running.delete(id));
    this.#running.set(id, run);
    return run;
  }

  isRunning(id: string): boolean {
    return this.#running.has(id);
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  async #run(id: string): Promise<void> {
    const intent = await this.#ports.store.query((db) => readIntent(db, id));
    if (intent === undefined || intent.status !== 'open') return;
    await inTrace(intent.trace, () =>
      inSpan(
        `run ${intent.kind}`,
        { 'antipode.intent': id, 'antipode.group': intent.group, 'antipode.site': intent.site },
        () => this.#advance(intent),
      ),
    );
  }

  async #advance(intent: Intent): Promise<void> {
    const [settle, perform] = this.#machine(intent);
    let step = settle(intent.state, { type: 'resume' } satisfies Resume);
    // Of this phase: what has moved on has not failed so often.
    let { attempts } = intent;
    for (let count = 0; ; count += 1) {
      // What is resumed keeps its number, and joins the order that may be under way.
      const now = { ...performing(intent, intent.performing + count), attempts };
      if (count > STEPS_MAX)
        throw new AntipodeError('INVARIANT_BROKEN', `the ${intent.kind} machine does not end`, {
          details: { intent: intent.id },
        });
      // A person may have ended it while the effect ran: what came of that is nobody's any more.
      if (!(await this.#persist(now, step))) return;
      if (step.effect === undefined) return;
      const { phase } = step.state;
      step = settle(step.state, await this.#perform(now, step.effect, perform));
      if (step.effect !== undefined && step.state.phase !== phase) attempts = 0;
    }
  }

  /** @returns false where the intent has ended meanwhile */
  async #persist(intent: Intent, { state, effect }: Step<{ phase: string }, { type: string }>): Promise<boolean> {
    const { store, election, clock, changes, log } = this.#ports;
    const status = effect === undefined ? statusOf(state.phase) : 'open';
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
                // What the machine says; else what was recorded when the order failed.
                ...(status === 'done' || message !== '' || last.message !== ''
                  ? { errorMessage: message || last.message }
                  : {}),
              }),
        },
        nowMs,
      );
      if (isOpen && status !== 'open' && (await isNews(trx, intent, { status, code: code || last.code, nowMs })))
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
    changes.announce(intent.id);
    return isKept;
  }

  async #perform(intent: Intent, effect: { type: string }, perform: Perform): Promise<{ type: string }> {
    const { store, election, clock, prng, log } = this.#ports;
    try {
      return await inSpan(effect.type, { 'antipode.intent': intent.id }, () => perform(intent, effect));
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      const { code, disposition, message } = error;
      if (disposition === 'defect' || code === 'LEADERSHIP_LOST') throw error;
      const failure = orderFailure(error, intent, clock.wallMs());
      const { id, kind, group } = intent;
      // What waits for another operation has not failed: it is not given up, and not tried at longer intervals.
      const isWaiting = code === 'GROUP_BUSY';
      log.at(isWaiting ? 'debug' : 'warn', 'order failed', {
        kind,
        group,
        site: failure.site,
        effect: effect.type,
        request: intent.requestId,
        error,
      });
      const current = await store.query((db) => readIntent(db, id));
      const attempts = (current?.attempts ?? 0) + (isWaiting ? 0 : 1);
      const ageMs = agoMs({ nowMs: clock.wallMs(), stampMs: intent.createdMs });
      const isOver = attempts >= (ATTEMPTS_MAX[kind] ?? Number.POSITIVE_INFINITY);
      const isGivenUp = disposition !== 'retry' || (isOver && ageMs >= (PATIENCE_MS[kind] ?? 0));
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
      this.#ports.changes.announce(id);
      throw error;
    }
  }

  /** The one place where the kinds of intents meet their machines. */
  #machine({ kind }: Intent): [Settle, Perform] {
    const { effects } = this.#ports;
    const pair = <State, Event, Effect>(
      decide: (state: State, event: Event) => Step<State, Effect>,
      perform: (intent: Intent, effect: Effect) => Promise<Event>,
    ): [Settle, Perform] => [decide as unknown as Settle, perform as unknown as Perform];
    switch (kind) {
      case 'enrolment':
        return pair<EnrolmentState, Parameters<typeof decideEnrolment>[1], Parameters<Effects['enrolment']>[1]>(
          decideEnrolment,
          (intent, effect) => effects.enrolment(intent, effect),
        );
      case 'capture':
        return pair<CaptureState, Parameters<typeof decideCapture>[1], { type: 'capture' }>(decideCapture, (intent) =>
          effects.capture(intent),
        );
      case 'replication':
        return pair<ReplicationState, Parameters<typeof decideReplication>[1], Parameters<Effects['replication']>[1]>(
          decideReplication,
          (intent, effect) => effects.replication(intent, effect),
        );
      case 'drill':
        return pair<DrillState, Parameters<typeof decideDrill>[1], Parameters<Effects['drill']>[1]>(
          decideDrill,
          (intent, effect) => effects.drill(intent, effect),
        );
      case 'scrub':
        return pair<ScrubState, Parameters<typeof decideScrub>[1], Parameters<Effects['scrub']>[1]>(
          decideScrub,
          (intent, effect) => effects.scrub(intent, effect),
        );
      case 'failover':
        return pair<FailoverState, Parameters<typeof decideFailover>[1], Parameters<Effects['failover']>[1]>(
          decideFailover,
          (intent, effect) => effects.failover(intent, effect),
        );
      case 'rejoin':
        return pair<RejoinState, Parameters<typeof decideRejoin>[1], { type: 'rejoin' }>(decideRejoin, (intent) =>
          effects.rejoin(intent),
        );
      case 'key-retirement':
        return pair<
          KeyRetirementState,
          Parameters<typeof decideKeyRetirement>[1],
          Parameters<Effects['keyRetirement']>[1]
        >(decideKeyRetirement, (intent, effect) => effects.keyRetirement(intent, effect));
      case 'reseat':
        return pair<ReseatState, Parameters<typeof decideReseat>[1], Parameters<Effects['reseat']>[1]>(
          decideReseat,
          (intent, effect) => effects.reseat(intent, effect),
        );
    }
  }
}

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
 * Whether the end of an intent is worth an event. A capture is told of where it is recorded, if it found anything. What
 * fails again and again for one reason is told once an hour.
 */
async function isNews(
  trx: Write,
  { id, kind, group, site }: Intent,
  { status, code, nowMs }: { status: IntentStatus; code: string; nowMs: number },
): Promise<boolean> {
  if (status === 'done') return kind !== 'capture';
  const former = (await readFailed(trx, group)).find(
    (one) => one.kind === kind && one.site === site && one.id !== id && one.errorCode === code,
  );
  return former === undefined || Math.floor(former.updatedMs / HOUR_MS) !== Math.floor(nowMs / HOUR_MS);
}

const HOUR_MS = 3_600_000;

const DONE = new Set(['complete', 'captured', 'acknowledged', 'passed', 'rejoined', 'reseated', 'retired']);

const PARKED = new Set(['incomplete', 'awaiting-officers']);

function statusOf(phase: string): IntentStatus {
  if (DONE.has(phase)) return 'done';
  return PARKED.has(phase) ? 'parked' : 'failed';
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
