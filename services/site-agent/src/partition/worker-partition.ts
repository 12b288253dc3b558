/**
 * A partition in a worker process of its own. It is opened again when the worker is lost or has grown too big. The work on
 * it runs strictly in turn, so that a slow HSM delays no other partition.
 */

import {
  type CallCount,
  CaptureMemory,
  type DomainKeyRecord,
  fingerprint,
  type HsmProvider,
  hasReceivingKey,
  type IdentityRecord,
  type Keyring,
  openKeyring,
  openPartition,
  type Protection,
  ReplicaMemory,
  type WorkerProvider,
} from '@antipode/hsm-core';
import { AntipodeError, type Clock, hasCode, hex, type Log } from '@antipode/runtime';
import { type PartitionSettings, partitionConfig } from '../config.ts';
import type { Journal } from '../storage/journal/journal.ts';
import { type OpenPartition, type Partition, Partitions } from './partition.ts';
import { type Rank, Turns, yielding } from './turns.ts';
import { recordUnrecorded } from './unrecorded-keys.ts';
import { remembering } from './wrap-digests.ts';

interface Opened extends Omit<OpenPartition, 'keyring' | 'provider' | 'under'> {
  readonly provider: WorkerProvider;
  keyring: Keyring;
  /** How much work it has done. */
  turns: number;
}

/** When a worker is ended and started again between two turns, because the module in it leaks. */
export interface RecyclePolicy {
  /** Keeps one partition from taking the memory of the others, and of the agent. */
  readonly residentBytesMax: number;
  /** A partition so large that its worker needs more than that must not be opened again for every turn. */
  readonly turnsMin: number;
}

const RECYCLE: RecyclePolicy = { residentBytesMax: 1024 ** 3, turnsMin: 256 };

/**
 * While an own key is missing, the first so many passes each open the partition again. After them only one in twice as
 * many does, since each costs a login.
 */
const REOPEN_PASSES = 6;

/** Passes for which trouble of the HSM is reported if no order succeeds before: a minute. */
const TROUBLED_PASSES = 12;

export interface PartitionOptions {
  readonly journal: Journal;
  readonly dataFolder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly recycle?: RecyclePolicy;
  /** Told of the calls of PKCS#11, by the name of the partition. */
  readonly onCalls?: ((partition: string, calls: readonly CallCount[]) => void) | undefined;
}

export class WorkerPartition implements Partition {
  readonly settings: PartitionSettings;
  readonly #journal: Journal;
  readonly #remembered = new WeakMap<HsmProvider, HsmProvider>();
  readonly #dataFolder: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #recycle: RecyclePolicy;
  readonly #onCalls: (calls: readonly CallCount[]) => void;
  readonly #turns = new Turns();
  readonly #endWatch: () => void;
  /** Told of every epoch, from the moment when it is there. */
  #provider: WorkerProvider | undefined;
  #open: Opened | undefined;
  #openingSinceMs: number | undefined;
  /** Since when each work waits for its turn, the first one first. */
  readonly #waits = new Set<{ readonly sinceMs: number }>();
  /** Since when the work under way has its turn. */
  #turnSinceMs: number | undefined;
  #failure: AntipodeError | undefined;
  /** The error of the HSM in the last work, if the partition could be opened. */
  #trouble: AntipodeError | undefined;
  /** How much work runs beside the turns: its worker is not ended for its size. */
  #beside = 0;
  #passesTroubled = 0;
  #unenforced: readonly Protection[] = [];
  #silentSlots: readonly string[] = [];
  #cloningDomain: string | undefined;
  #trusted: readonly { group: string; version: number }[] | undefined;
  /**
   * The journal's trusted keys when the own keys were last read. The officer's step is another process's, so they may
   * change.
   */
  #trustedKnown = 0;
  /** Ids of own keys that have no record of a key, when the token was last read. */
  #announced = '';
  /** Domain keys that were missing when the token was last read. */
  #missing = '';
  #passesMissing = 0;

  constructor(options: PartitionOptions & { settings: PartitionSettings }) {
    this.settings = options.settings;
    this.#recycle = options.recycle ?? RECYCLE;
    this.#onCalls = (calls) => options.onCalls?.(options.settings.name, calls);
    this.#journal = options.journal;
    this.#dataFolder = options.dataFolder;
    this.#clock = options.clock;
    this.#log = options.log.with({ partition: options.settings.name });
    this.#endWatch = this.#journal.tenure.watch((persisted) => this.#provider?.raise([persisted]));
  }

  get identity(): IdentityRecord | undefined {
    return this.#journal.identities.of(this.settings.name);
  }

  get serial(): string | undefined {
    return this.identity?.serial;
  }

  get identitySha256(): string | undefined {
    const identity = this.identity;
    return identity && fingerprint(identity.publicHalf);
  }

  get formerIdentities(): string[] {
    return this.#journal.identities.former(this.settings.name).map(({ publicHalf }) => fingerprint(publicHalf));
  }

  get unansweredMs(): number {
    if (this.#openingSinceMs !== undefined) return this.#clock.monotonicMs() - this.#openingSinceMs;
    return this.#open?.provider.unansweredMs() ?? 0;
  }

  get stalledMs(): number {
    if (this.#turnSinceMs === undefined || this.#openingSinceMs !== undefined) return 0;
    const turnMs = this.#clock.monotonicMs() - this.#turnSinceMs;
    return Math.min(turnMs, this.#open?.provider.idleMs() ?? turnMs);
  }

  get ordersWaiting(): number {
    return this.#turns.waiting;
  }

  get longestWaitMs(): number {
    const [first] = this.#waits;
    return first === undefined ? 0 : this.#clock.monotonicMs() - first.sinceMs;
  }

  get hasReceivingKey(): boolean {
    const identity = this.identity;
    return identity !== undefined && hasReceivingKey(identity.publicHalf);
  }

  get trusted(): readonly { group: string; version: number }[] {
    return (
      this.#trusted ?? this.#journal.domainKeys.of(this.serial ?? '').filter(({ trusted }) => trusted !== undefined)
    );
  }

  get unenforced(): readonly Protection[] {
    return this.#unenforced;
  }

  get cloningDomain(): string | undefined {
    return this.#cloningDomain;
  }

  get silentSlots(): readonly string[] {
    return this.#silentSlots;
  }

  /**
   * The reason why the partition cannot be used: it could not be opened last time, the HSM failed in the last work, or
   * one of the partition's own keys is missing.
   */
  get failure(): AntipodeError | undefined {
    return this.#failure ?? this.#trouble ?? missingKey(this.#open?.keyring);
  }

  /** A scratch partition remembers no proofs, since its objects are gone with the drill. */
  #remembering(provider: HsmProvider, { description }: Opened): HsmProvider {
    if (this.settings.role === 'scratch') return provider;
    const known = this.#remembered.get(provider);
    if (known !== undefined) return known;
    const device = `${description.serial} ${description.model} ${description.firmware}`;
    const remembered = remembering(provider, { findings: this.#journal.findings, device });
    this.#remembered.set(provider, remembered);
    return remembered;
  }

  async #inTurn<T>(work: (makeWay: AbortSignal) => Promise<T>, signal?: AbortSignal, rank?: Rank): Promise<T> {
    const wait = { sinceMs: this.#clock.monotonicMs() };
    this.#waits.add(wait);
    try {
      return await this.#turns.take(
        async (makeWay) => {
          this.#waits.delete(wait);
          this.#turnSinceMs = this.#clock.monotonicMs();
          try {
            return await work(makeWay);
          } finally {
            this.#turnSinceMs = undefined;
          }
        },
        signal,
        rank,
      );
    } finally {
      // Its caller may have gone before its turn.
      this.#waits.delete(wait);
    }
  }

  use<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal, rank: Rank = 'normal'): Promise<T> {
    return this.#inTurn(
      async (makeWay) => {
        try {
          const result = await this.#recyclingOnce((open) => {
            const given = (own: HsmProvider): OpenPartition => {
              const provider = this.#remembering(own, open);
              return {
                ...open,
                provider: rank === 'yielding' ? yielding(provider, makeWay) : provider,
                under: (tenure) => given(open.provider.under(tenure)),
              };
            };
            return work(given(open.provider));
          });
          this.#trouble = undefined;
          return result;
        } catch (thrown) {
          this.#note(thrown);
          throw thrown;
        }
      },
      signal,
      rank,
    );
  }

  async beside<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal): Promise<T> {
    let working: Promise<T> | undefined;
    this.#beside += 1;
    try {
      // The call has its place in the line of the worker when the turn ends. The worker leaves it while devices copy.
      await this.use(async (open) => {
        working = work(open);
        working.catch(() => undefined);
      }, signal);
      return await working!;
    } finally {
      this.#beside -= 1;
    }
  }

  /**
   * A void session does not fail an order: all work may be repeated, and a new worker has new sessions. If the new
   * session is void too, the order fails with HSM_REFUSED.
   */
  async #recyclingOnce<T>(work: (open: Opened) => Promise<T>): Promise<T> {
    try {
      return await this.#attempt(work);
    } catch (thrown) {
      if (!hasCode(thrown, 'HSM_SESSION_VOID')) throw thrown;
      this.#log.warn('the HSM session is void; its worker is restarted', { ...thrown.details });
      try {
        return await this.#attempt(work);
      } catch (again) {
        if (!hasCode(again, 'HSM_SESSION_VOID')) throw again;
        const said = again.message.replace(`[${again.code}] `, '');
        throw new AntipodeError('HSM_REFUSED', `${said}, also in a new session`, {
          details: again.details,
          cause: again,
        });
      }
    }
  }

  async #attempt<T>(work: (open: Opened) => Promise<T>): Promise<T> {
    const open = await this.#ensureOpen();
    try {
      // A command of the site, or the officer, may have made an own key beside us. An own key is not an application's
      // object.
      const hasTrusted = this.#trustedKnown !== trustedIn(this.#journal, open.description.serial);
      if (hasTrusted || this.#announcedNow() !== this.#announced) await open.refreshKeyring();
      const result = await work(open);
      await this.#recycleIfGrown(open);
      return result;
    } catch (thrown) {
      // A session that the token dropped is as void as a worker that died: start afresh next time.
      if (hasCode(thrown, 'HSM_WORKER_LOST', 'HSM_UNAVAILABLE', 'HSM_SESSION_VOID')) await this.#drop();
      throw thrown;
    } finally {
      // The work may have made another error of it, or none.
      if (open.provider.isLost()) await this.#drop();
    }
  }

  /** Remembers that the HSM failed, whichever order asked. An error about one object is not trouble of the HSM. */
  #note(thrown: unknown): void {
    if (!hasCode(thrown, 'HSM_REFUSED', 'HSM_UNAVAILABLE') || 'objectId' in thrown.details) return;
    if (this.#failure !== undefined) return;
    if (this.#trouble?.message !== thrown.message) this.#log.error('the HSM fails', { error: thrown });
    this.#trouble = thrown;
    this.#passesTroubled = 0;
  }

  /**
   * Opens it ahead of the first order, so that trouble shows at once; again where its worker has died meanwhile; and looks
   * again for an own key that was missing. Called every few seconds.
   */
  async warmUp(): Promise<void> {
    if (this.identity === undefined) return;
    const open = this.#open;
    if (open === undefined || open.provider.isLost() || this.#hasOtherIdentity(open))
      await this.#inTurn(async () => void (await this.#ensureOpen()));
    else if (this.#trustedKnown !== trustedIn(this.#journal, open.description.serial)) await this.use(async () => {});
    else if (this.#trouble !== undefined) await this.#lookAfterTrouble();
    else if (open.keyring.missing.length > 0) await this.#lookForMissing();
  }

  /** Orders may keep away from a partition in trouble: after a while it counts as over where its own keys can be used. */
  async #lookAfterTrouble(): Promise<void> {
    this.#passesTroubled += 1;
    if (this.#passesTroubled >= TROUBLED_PASSES) await this.use((open) => open.refreshKeyring());
  }

  /**
   * Looks for a missing own key in the same session, in case an application brought it back. From time to time a new
   * worker looks, in case the token itself was not whole.
   */
  #lookForMissing(): Promise<void> {
    this.#passesMissing += 1;
    const isTimeToReopen = this.#passesMissing <= REOPEN_PASSES || this.#passesMissing % (REOPEN_PASSES * 2) === 0;
    return this.#inTurn(async () => {
      if (isTimeToReopen) await this.#drop();
      const open = await this.#ensureOpen();
      if (!isTimeToReopen) await open.refreshKeyring();
      if (open.keyring.missing.length === 0) this.#passesMissing = 0;
    });
  }

  close(): Promise<void> {
    return this.#turns.close(() => {
      this.#endWatch();
      return this.#drop();
    });
  }

  async #recycleIfGrown(open: Opened): Promise<void> {
    open.turns += 1;
    const { residentBytesMax, turnsMin } = this.#recycle;
    const residentBytes = open.provider.residentBytes();
    if (this.#beside > 0 || open.turns < turnsMin || residentBytes <= residentBytesMax) return;
    this.#log.info('HSM worker recycled', { residentBytes, turns: open.turns });
    await this.#drop();
  }

  async #drop(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.provider.close();
  }

  async #ensureOpen(): Promise<Opened> {
    if (this.#open !== undefined && (this.#open.provider.isLost() || this.#hasOtherIdentity(this.#open)))
      await this.#drop();
    if (this.#open !== undefined) return this.#open;
    const identity = this.identity;
    if (identity === undefined) {
      throw new AntipodeError('IDENTITY_MISSING', `partition ${this.settings.name} has not been initialised`, {
        details: { partition: this.settings.name },
        hint: `Run \`antipode partition init ${this.settings.name}\` at this site. It makes the identity key.`,
      });
    }
    try {
      this.#openingSinceMs = this.#clock.monotonicMs();
      this.#open = await this.#openWorker(identity);
      if (this.#failure !== undefined) this.#log.info('partition opened', { after: this.#failure.code });
      this.#failure = undefined;
      return this.#open;
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (this.#failure?.code !== error.code) this.#log.error('partition cannot be opened', { error });
      this.#failure = error;
      throw error;
    } finally {
      this.#openingSinceMs = undefined;
    }
  }

  #announcedNow(): string {
    const { serial } = this;
    return serial === undefined ? '' : this.#journal.identities.announced(serial).map(hex).join();
  }

  /** Somebody has put another one in its place meanwhile (move-identity.ts). */
  #hasOtherIdentity({ keyring }: Opened): boolean {
    return keyring.identity.sha256 !== this.identitySha256;
  }

  async #openWorker(identity: IdentityRecord): Promise<Opened> {
    const { serial } = identity;
    const config = partitionConfig(this.settings, { dataFolder: this.#dataFolder, serial });
    const onAlive = (): void => {
      if (this.#openingSinceMs !== undefined) this.#openingSinceMs = this.#clock.monotonicMs();
    };
    const provider = await openPartition(config, {
      log: this.#log,
      clock: this.#clock,
      onAlive,
      onCalls: this.#onCalls,
      isFenced: true,
    });
    // Nothing comes between the two: from now on the watch passes on each epoch.
    this.#provider = provider;
    provider.raise(this.#journal.tenure.epochs());
    try {
      const keyring = await this.#readKeyring(provider, identity);
      const description = await provider.describe();
      if (this.settings.identityPartition !== undefined && keyring.identity.isElsewhere !== true)
        this.#log.warn('the identity key is in the partition, not in its `identityPartition`', {
          way: `antipode partition move-identity ${this.settings.name}`,
        });
      this.#unenforced = description.unenforced;
      this.#cloningDomain = description.cloning && hex(description.cloning.domain);
      const opened: Opened = {
        provider,
        keyring,
        description,
        captures: new CaptureMemory(),
        replica: new ReplicaMemory(),
        turns: 0,
        refreshKeyring: async () => {
          opened.keyring = await this.#readKeyring(provider, identity);
        },
      };
      return opened;
    } catch (thrown) {
      await provider.close();
      throw thrown;
    }
  }

  async #readKeyring(provider: HsmProvider, identity: IdentityRecord): Promise<Keyring> {
    const { serial } = identity;
    const read = (domainKeys: readonly DomainKeyRecord[], announced: readonly Uint8Array[]): Promise<Keyring> => {
      const otherIds = this.#journal.identities.otherIds(serial);
      return openKeyring({ provider, identity, domainKeys, announced, otherIds });
    };
    const announced = this.#journal.identities.announced(serial);
    let domainKeys = this.#journal.domainKeys.of(serial);
    let opened = await read(domainKeys, announced);
    if (recordUnrecorded(opened, { journal: this.#journal, serial, log: this.#log })) {
      domainKeys = this.#journal.domainKeys.of(serial);
      opened = await read(domainKeys, announced);
    }
    this.#trustedKnown = domainKeys.filter(({ trusted }) => trusted !== undefined).length;
    this.#announced = announced.map(hex).join();
    // A key that was about to be destroyed when the agent ended is not missing.
    const begun = this.#journal.domainKeys.retired(serial).filter(({ state }) => state === 'begun');
    const isBegun = ({ group, version }: DomainKeyRecord): boolean =>
      begun.some((one) => one.group === group && one.version === version);
    const keyring = { ...opened, missing: opened.missing.filter((record) => !isBegun(record)) };
    this.#trusted = domainKeys.filter(({ group, version, trusted }) => {
      if (trusted === undefined) return false;
      const isThere = keyring.domainKeys(group).some((key) => key.version === version && key.trusted !== undefined);
      if (!isThere)
        this.#log.error('a trusted key in the journal is not in the token, or not trusted', { group, version });
      return isThere;
    });
    const missing = keyring.missing.map(({ group, version }) => `${group} ${version}`).join(', ');
    if (missing !== this.#missing && missing !== '')
      this.#log.error('domain keys in the journal are not in the token', { missing });
    else if (missing !== this.#missing) this.#log.info('the missing domain keys are in the token again');
    this.#missing = missing;
    return keyring;
  }
}

const trustedIn = (journal: Journal, serial: string): number =>
  journal.domainKeys.of(serial).filter(({ trusted }) => trusted !== undefined).length;

/** Without the newest domain key of its group a member can do nothing; older ones are for reading old generations only. */
function missingKey(keyring: Keyring | undefined): AntipodeError | undefined {
  const absent = keyring?.missing.find(({ group, version }) =>
    keyring.domainKeys(group).every((held) => held.version < version),
  );
  if (absent === undefined) return undefined;
  const { group, version } = absent;
  return new AntipodeError(
    'DOMAIN_KEY_MISSING',
    `domain key version ${version} of group ${group} is not in the token`,
    {
      details: { group, version },
    },
  );
}

/** The partitions of the configuration. No worker is started yet. */
export const workerPartitions = (options: PartitionOptions & { settings: readonly PartitionSettings[] }): Partitions =>
  new Partitions(options.settings.map((settings) => new WorkerPartition({ ...options, settings })));
