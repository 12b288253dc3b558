/**
 * Tells each hook where each group is served, until the hook has accepted it. The database has the epoch that each hook
 * accepted last, so no restart and no change of leader loses a message. There is no queue of messages: a pass compares
 * that epoch with the one in force, and sends the one in force. A hook that was away for a week learns the newest place
 * and none of those before. It never learns an older place after a newer one.
 */
import { AntipodeError, backoffMs, type Clock, type Log, type Prng } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import { isGroup } from '../groups/groups-at-site.ts';
import { activeOf, type Group, isSettled } from '../model.ts';
import type { Store } from '../store/store.ts';
import { readAcceptedEpochs, readEpochBefore, recordAcceptedEpoch } from '../store/tables/hooks.ts';
import { readPlace } from '../store/tables/sites/sites.ts';
import type { Hook } from './hook.ts';

export interface RoleChangesPorts {
  readonly store: Pick<Store, 'query' | 'write'>;
  readonly election: Pick<Leadership, 'epoch'>;
  readonly cache: Pick<GroupCache, 'all'>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
}

/** A hook that has not accepted where a group is served. */
export interface HookTrouble {
  readonly hook: string;
  readonly group: string;
  readonly epoch: bigint;
  readonly message: string;
  readonly sinceMs: number;
}

interface Try extends HookTrouble {
  readonly failures: number;
  readonly nextMs: number;
}

const BACKOFF = { baseMs: 1_000, capMs: 5 * 60_000 };

export class RoleChanges {
  readonly #ports: RoleChangesPorts;
  readonly #hooks: readonly Hook[];
  /** By hook and group. */
  readonly #tries = new Map<string, Try>();

  constructor(hooks: readonly Hook[], ports: RoleChangesPorts) {
    this.#hooks = hooks;
    this.#ports = ports;
  }

  get troubles(): readonly HookTrouble[] {
    return [...this.#tries.values()];
  }

  /** The names of the hooks, for a pass of each. */
  get hooks(): readonly string[] {
    return this.#hooks.map(({ name }) => name);
  }

  /** One look at every group, for one hook. A hook that hangs holds up nobody: passes of other hooks go on meanwhile. */
  async pass(name: string): Promise<void> {
    const { election, store, cache } = this.#ports;
    const leaderEpoch = election.epoch;
    const hook = this.#hooks.find((one) => one.name === name);
    if (leaderEpoch === undefined) return this.#tries.clear();
    if (hook === undefined) return;
    for (const [key, { group }] of this.#tries) if (!isGroup(cache.all, group)) this.#tries.delete(key);
    const accepted = await store.query(readAcceptedEpochs);
    const isDue = (group: Group): boolean =>
      activeOf(group) !== undefined && isSettled(group) && (accepted.get(keyOf(hook, group)) ?? 0n) < group.epoch;
    for (const { spec } of cache.all.filter(isDue)) {
      // As it is by now: each group before it may have taken as long as a hook may take.
      const group = cache.all.find((one) => one.spec.name === spec.name);
      if (group !== undefined && isDue(group)) await this.#tell(hook, group, leaderEpoch);
    }
  }

  async #tell(hook: Hook, group: Group, leaderEpoch: bigint): Promise<void> {
    const { store, clock, election, log } = this.#ports;
    const { name } = group.spec;
    const { epoch } = group;
    const active = activeOf(group)!;
    const key = keyOf(hook, group);
    const before = this.#tries.get(key);
    if (before?.epoch === epoch && before.nextMs > clock.monotonicMs()) return;
    try {
      const { place, previousSite } = await store.query(async (db) => ({
        place: await readPlace(db, active),
        previousSite: await readEpochBefore(db, name, epoch),
      }));
      // Its site has not said yet what its clients load.
      if (place === undefined) return;
      // While the database worked, another coordinator may have begun to lead. It tells the hook.
      if (election.epoch !== leaderEpoch) return;
      const { isAccepted, reason } = await hook.call({
        type: 'role-change',
        group: name,
        epoch,
        site: active.site,
        serial: active.serial,
        module: place.module,
        tokenLabel: place.tokenLabel,
        previousSite: previousSite ?? '',
      });
      if (!isAccepted)
        throw new AntipodeError('HOOK_FAILED', `hook ${hook.name} refused the message${reason && `: ${reason}`}`, {
          details: { hook: hook.name },
        });
      await store.write(leaderEpoch, async (trx, record) => {
        await recordAcceptedEpoch(trx, { hook: hook.name, group: name, epoch });
        record({ kind: 'hook-accepted', group: name, site: active.site, details: { hook: hook.name, epoch } });
      });
      this.#tries.delete(key);
      log.info('a hook knows where a group is served', { hook: hook.name, group: name, site: active.site, epoch });
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.code !== 'HOOK_FAILED') throw error;
      this.#failed({ hook: hook.name, group: name, epoch, message: error.message }, before);
    }
  }

  #failed(failed: Omit<HookTrouble, 'sinceMs'>, before: Try | undefined): void {
    const { clock, prng, log } = this.#ports;
    const nowMs = clock.monotonicMs();
    const failures = before?.epoch === failed.epoch ? before.failures + 1 : 1;
    const sinceMs = failures === 1 ? nowMs : (before?.sinceMs ?? nowMs);
    const waitMs = backoffMs(failures - 1, BACKOFF, prng);
    this.#tries.set(keyOf({ name: failed.hook }, { spec: { name: failed.group } }), {
      ...failed,
      failures,
      sinceMs,
      nextMs: nowMs + waitMs,
    });
    log.at(failures === 1 ? 'warn' : 'debug', 'a hook does not know where a group is served; it is tried again', {
      ...failed,
      failures,
      waitMs: Math.round(waitMs),
    });
  }
}

const keyOf = ({ name }: Pick<Hook, 'name'>, { spec }: { readonly spec: { readonly name: string } }): string =>
  `${name} ${spec.name}`;
