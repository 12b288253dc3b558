/** Rows of a test, written and read by the functions of the store's own tables. */
import type { Generation, Group, GroupSpec, Role } from '../model.ts';
import type { Change, Store, Write } from '../store/store.ts';
import {
  readAcknowledged,
  readGeneration,
  readKnown,
  recordAcknowledgement,
  recordCapture,
} from '../store/tables/generations.ts';
import {
  activateEpoch,
  insertEpoch,
  insertGroup,
  orderVersion,
  readGroup,
  setRole,
  useVersion,
} from '../store/tables/groups.ts';
import { type Intent, insertIntent, readIntent, readIntents, updateIntent } from '../store/tables/intents.ts';
import { SPEC } from './group.ts';
import { FIRST_EPOCH } from './leader.ts';

/** The differences from a group right after its declaration. */
export interface GroupRow {
  readonly spec?: GroupSpec;
  readonly createdMs?: number;
  /** The version in use, and the highest that was ordered. */
  readonly domainKeyVersion?: number;
  readonly highestVersion?: number;
  readonly roles?: Readonly<Record<string, Role>>;
}

export interface EpochRow {
  readonly epoch: bigint;
  readonly owner: string;
  /** Whether it is in force; else it was issued only. */
  readonly isActive?: boolean;
  /** The generation that its tenure goes on from. */
  readonly base?: { readonly epoch: bigint; readonly number: bigint };
}

/** The transaction, in which somebody else's change is seen after its first statement. */
export function overtaken(trx: Write, change: (trx: Write) => Promise<unknown>): Write {
  let isFirst = true;
  return trx.withPlugin({
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      if (isFirst) {
        isFirst = false;
        await change(trx);
      }
      return result;
    },
  });
}

export class Rows {
  readonly #store: Store;
  readonly #group: string;

  /** Rows are those of `group` where nothing else is said. */
  constructor(store: Store, { group = SPEC.name }: { group?: string } = {}) {
    this.#store = store;
    this.#group = group;
  }

  write<T>(change: Change<T>): Promise<T> {
    return this.#store.write(FIRST_EPOCH, change);
  }

  /** A declared group with a domain key. */
  async group({
    spec = SPEC,
    createdMs = 0,
    domainKeyVersion = 1,
    highestVersion = domainKeyVersion,
    roles = {},
  }: GroupRow = {}): Promise<Group> {
    return this.write(async (trx) => {
      await insertGroup(trx, spec, createdMs);
      await useVersion(trx, spec.name, domainKeyVersion);
      await orderVersion(trx, spec.name, highestVersion);
      for (const [site, role] of Object.entries(roles)) await setRole(trx, spec.name, site, role);
      return readGroup(trx, spec.name);
    });
  }

  /** An epoch that was issued, and came into force where that is said. */
  async epoch({ epoch, owner, isActive = false, base }: EpochRow, group = this.#group): Promise<void> {
    await this.write(async (trx) => {
      await insertEpoch(trx, group, { epoch, owner, reason: 'automatic', isActive: false, nowMs: 0 });
      if (isActive) await activateEpoch(trx, group, { epoch, owner, base });
    });
  }

  async captured(generations: readonly Generation[], group = this.#group): Promise<void> {
    await this.write(async (trx) => {
      for (const one of generations) await recordCapture(trx, group, one);
    });
  }

  async acknowledged(
    site: string,
    { epoch, number }: { readonly epoch: bigint; readonly number: bigint },
    group = this.#group,
  ): Promise<void> {
    await this.write((trx) => recordAcknowledgement(trx, group, { epoch, number, site, nowMs: 0 }));
  }

  /** An intent as it was made, and then as far as it has come. */
  async intended(
    { id, kind, group = this.#group, site = '', state = { phase: 'due' }, trace = {}, createdMs = 0 }: IntentRow,
    { updatedMs = createdMs, ...change }: IntentChange = {},
  ): Promise<void> {
    await this.write(async (trx) => {
      await insertIntent(trx, { id, kind, group, site, state, trace }, createdMs);
      await updateIntent(trx, id, change, updatedMs);
    });
  }

  readGroup(group = this.#group): Promise<Group> {
    return this.#store.snapshot((db) => readGroup(db, group));
  }

  intent(id: string): Promise<Intent | undefined> {
    return this.#store.query((db) => readIntent(db, id));
  }

  /** Of all groups, newest first. */
  intents(): Promise<Intent[]> {
    return this.#store.query((db) => readIntents(db, { limit: 500 }));
  }

  /** Newest last. */
  generations(group = this.#group): Promise<Generation[]> {
    return this.#store.query(async (db) => {
      const known = await readKnown(db, group);
      const all = await Promise.all(known.map((one) => readGeneration(db, group, one)));
      return all.filter((one) => one !== undefined);
    });
  }

  /** The newest that each site has acknowledged, as `site number`. */
  async acknowledgements(group = this.#group): Promise<string[]> {
    const rows = await this.#store.query((db) => readAcknowledged(db, group));
    return rows.map(({ site, number }) => `${site} ${number}`);
  }

  /** The kinds of the events, in order. */
  async events(): Promise<string[]> {
    const rows = await this.#store.query((db) => db.selectFrom('event').select('kind').orderBy('id').execute());
    return rows.map(({ kind }) => kind);
  }
}

type IntentRow = Pick<Intent, 'id' | 'kind'> &
  Partial<Pick<Intent, 'group' | 'site' | 'state' | 'trace' | 'createdMs'>>;
export type IntentChange = Parameters<typeof updateIntent>[2] & { readonly updatedMs?: number };
