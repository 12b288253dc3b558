/**
 * A word at an interval that all is well here: a service elsewhere raises the alarm when it does not come. It comes only
 * while this coordinator leads, the passes that look after groups and notices succeed, and receivers accept their
 * notices. So the silence of a dead coordinator, of a broken database and of a dead mail server is noticed.
 */
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import type { Answer } from '../hooks/hook.ts';

export interface HeartbeatTarget {
  readonly name: string;
  readonly everyMs: number;
  /** @throws NOTICE_UNDELIVERED */
  readonly beat: () => Promise<Answer>;
}

export interface HeartbeatsPorts {
  readonly election: Pick<Leadership, 'epoch'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Why it must not be said that all is well; undefined if it may. */
  readonly obstacle: () => string | undefined;
}

export interface HeartbeatState {
  readonly name: string;
  /** Monotonic, of the last beat that was accepted; undefined for none since this coordinator leads. */
  readonly acceptedMs: number | undefined;
  /** Why none was sent or accepted the last time; empty if one was. */
  readonly trouble: string;
}

export class Heartbeats {
  readonly #ports: HeartbeatsPorts;
  readonly all: readonly HeartbeatTarget[];
  readonly #states = new Map<string, HeartbeatState>();

  constructor(all: readonly HeartbeatTarget[], ports: HeartbeatsPorts) {
    this.all = all;
    this.#ports = ports;
  }

  get states(): readonly HeartbeatState[] {
    return this.all.map(({ name }) => this.#states.get(name) ?? { name, acceptedMs: undefined, trouble: '' });
  }

  async pass(name: string): Promise<void> {
    const { election, clock, log, obstacle } = this.#ports;
    const target = this.all.find((one) => one.name === name);
    if (election.epoch === undefined || target === undefined) return void this.#states.delete(name);
    const before = this.#states.get(name);
    const trouble = obstacle() ?? (await this.#troubleOf(target));
    const acceptedMs = trouble === '' ? clock.monotonicMs() : before?.acceptedMs;
    this.#states.set(name, { name, acceptedMs, trouble });
    if (trouble !== '' && (before?.trouble ?? '') === '')
      log.warn('a heartbeat is not sent or not accepted', { heartbeat: name, trouble });
    if (trouble === '' && (before?.trouble ?? '') !== '')
      log.info('a heartbeat is accepted again', { heartbeat: name });
  }

  /** Empty for none. */
  async #troubleOf({ name, beat }: HeartbeatTarget): Promise<string> {
    try {
      const { isAccepted, reason } = await beat();
      return isAccepted ? '' : `heartbeat ${name} was refused${reason && `: ${reason}`}`;
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.code !== 'NOTICE_UNDELIVERED') throw error;
      return error.message.replace('[NOTICE_UNDELIVERED] ', '');
    }
  }
}
