/**
 * Objects that devices copy among themselves (ADR 0058). A device is asked by names, which repeat, so everything that has
 * arrived is compared with the manifest before anybody hears of it. Nothing is destroyed that this call has not surely
 * brought: another program may make an object at the same time.
 */
import { CKA, CryptokiFailure } from '@antipode/cryptoki';
import { ASSUMED, ATTRIBUTES, type AttributeName } from '../../model/attributes.ts';
import type { Handle, ObservedObject } from '../../model/object.ts';
import { type CloneDifference, differencesOf } from '../../objects/clone-comparison.ts';
import { bareSerial, type DeviceCloner, type DeviceMove, nameKey, nameOf } from '../../provider/device-cloner.ts';
import type { DeviceItem, DeviceOrder, DeviceOutcome, NativeObject } from '../../provider/native-cloner.ts';
import type { Refusal } from '../../provider/restorer.ts';
import { encodeNative } from '../reading/objects.ts';
import type { TokenSession } from '../token-session.ts';

export interface DeviceCloneParts {
  readonly cloner: DeviceCloner;
  /** Reads an object with its public half; undefined when it is gone. */
  readonly read: (handle: Handle, publicHalf: Uint8Array | undefined) => ObservedObject | undefined;
  /** Whether the object shows the value of the item. */
  readonly shows: (domainKey: Handle, item: DeviceItem, handle: Handle) => Promise<boolean>;
}

/** An item that is not here yet. */
interface Open {
  readonly index: number;
  readonly item: DeviceItem;
}

export class DeviceClones {
  readonly #context: TokenSession;
  readonly #parts: DeviceCloneParts;

  constructor(context: TokenSession, parts: DeviceCloneParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async clone(order: DeviceOrder): Promise<DeviceOutcome[]> {
    const { items, signal } = order;
    const made = new Map<number, Handle>();
    const refused = new Map<number, Refusal>();
    for (const [index, item] of items.entries()) {
      if (item.replaces === undefined || !this.#isThere(item.replaces, item)) continue;
      if (this.#change(item.replaces, item)) made.set(index, item.replaces);
      else refused.set(index, { code: 'NATIVE_MISMATCH' });
    }
    for (const serial of this.#inOrder(order)) {
      if (signal?.aborted) break;
      const isOpen = (index: number): boolean => !made.has(index) && refused.get(index)?.code !== 'NATIVE_MISMATCH';
      const open = items.flatMap((item, index): Open[] => (isOpen(index) ? [{ index, item }] : []));
      if (open.length === 0) break;
      const outcomes = await this.#from(serial, { order, open });
      for (const [at, { index }] of open.entries()) {
        const outcome = outcomes[at]!;
        if ('handle' in outcome) made.set(index, outcome.handle);
        // The first source is the one that the manifest names. Its reason counts.
        else if (!refused.has(index)) refused.set(index, outcome);
      }
    }
    return items.map((_item, index): DeviceOutcome => {
      const handle = made.get(index);
      return handle === undefined ? (refused.get(index) ?? { code: 'NATIVE_SOURCE_UNREACHED' }) : { handle };
    });
  }

  /** A handle may have come to mean another object. */
  #isThere(handle: Handle, { objectClass, keyType, publicHalf }: DeviceItem): boolean {
    const seen = this.#parts.read(handle, publicHalf);
    return seen !== undefined && seen.objectClass === objectClass && seen.keyType === keyType;
  }

  /** Whether the object has all attributes of the item now. One call changes all of them, or none. */
  #change(handle: Handle, item: DeviceItem): boolean {
    const { cryptoki, session } = this.#context;
    const differences = (): CloneDifference[] => {
      const seen = this.#parts.read(handle, item.publicHalf);
      return seen === undefined ? ['unreadable'] : differencesOf(item, seen);
    };
    const found = differences();
    const names = found.filter((name): name is AttributeName => name in ATTRIBUTES);
    if (names.length < found.length) return false;
    const changes = names.flatMap((name) => {
      const { type, kind } = ATTRIBUTES[name];
      const value = item.attributes[name] ?? ASSUMED[name] ?? (kind === 'bytes' ? new Uint8Array() : undefined);
      return value === undefined ? [] : [[type, encodeNative(name, value)] as const];
    });
    try {
      if (changes.length > 0) cryptoki.setAttributes(session, handle, changes);
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return false;
      throw thrown;
    }
    return differences().length === 0;
  }

  #inOrder({ source }: DeviceOrder): string[] {
    if (source === undefined) return [];
    const { sources } = this.#parts.cloner;
    const first = sources.filter((one) => bareSerial(one) === bareSerial(source));
    return [...first, ...sources.filter((one) => !first.includes(one))];
  }

  async #from(
    serial: string,
    { order, open }: { order: DeviceOrder; open: readonly Open[] },
  ): Promise<DeviceOutcome[]> {
    const { domainKey, signal, meanwhile = (copying) => copying() } = order;
    const before = new Set(this.#handles());
    const items = open.map(({ item }) => item);
    const move = await meanwhile(() => this.#parts.cloner.clone(serial, items, signal));
    const arrived = this.#handles().filter((handle) => !before.has(handle));
    const fitting = await this.#fitting({ domainKey, open, arrived });
    const wrong = this.#destroyStrays(
      arrived.filter((handle) => ![...fitting.values()].includes(handle)),
      { arrived, move },
    );
    return open.map(({ item }, at): DeviceOutcome => {
      const handle = fitting.get(item);
      if (handle !== undefined) return { handle };
      if (wrong.has(nameKey(nameOf(item)))) return { code: 'NATIVE_MISMATCH' };
      // A copy that was ended says nothing of the key.
      if (signal?.aborted) return { code: 'NATIVE_SOURCE_UNREACHED', returnValue: 'ended' };
      return move.refusals[at] ?? { code: 'NATIVE_NOT_CLONED' };
    });
  }

  #handles(): Handle[] {
    const { cryptoki, session } = this.#context;
    return cryptoki.find(session, [[CKA.TOKEN, true]]);
  }

  /** The arrived object of each item. Of several that are alike, the one that shows its value. */
  async #fitting({
    domainKey,
    open,
    arrived,
  }: {
    domainKey: Handle;
    open: readonly Open[];
    arrived: readonly Handle[];
  }): Promise<Map<DeviceItem, Handle>> {
    const free = new Set(arrived);
    const fitting = new Map<DeviceItem, Handle>();
    const wanted = Map.groupBy(open, ({ item }) => nameKey(nameOf(item)));
    const found = Map.groupBy(arrived, (handle) => this.#nameOf(handle));
    for (const { item } of open) {
      const key = nameKey(nameOf(item));
      const candidates = (found.get(key) ?? []).filter((handle) => free.has(handle));
      const isAlone = wanted.get(key)?.length === 1 && candidates.length === 1;
      for (const handle of candidates) {
        const seen = this.#parts.read(handle, item.publicHalf);
        if (seen === undefined || differencesOf(item, seen).length > 0) continue;
        if (!isAlone && !(await this.#parts.shows(domainKey, item, handle))) continue;
        free.delete(handle);
        fitting.set(item, handle);
        break;
      }
    }
    return fitting;
  }

  #nameOf(handle: Handle): string {
    const seen = this.#parts.read(handle, undefined);
    return seen === undefined ? '' : nameKey(nameOf(seen as Pick<NativeObject, 'objectClass' | 'attributes'>));
  }

  /**
   * Destroys objects that fit nothing, and that this call has surely brought. As many of a name have to have arrived as the
   * devices say that they brought: otherwise one of them is somebody's own. Returns the names of all that fit nothing.
   */
  #destroyStrays(
    strays: readonly Handle[],
    { arrived, move }: { arrived: readonly Handle[]; move: DeviceMove },
  ): ReadonlySet<string> {
    const { cryptoki, session } = this.#context;
    const count = (names: readonly string[]): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
      return counts;
    };
    const brought = count(move.brought.map(nameKey));
    const here = count(arrived.map((handle) => this.#nameOf(handle)));
    const names = new Set<string>();
    for (const handle of strays) {
      const name = this.#nameOf(handle);
      names.add(name);
      if (brought.get(name) === here.get(name)) cryptoki.destroy(session, handle);
    }
    return names;
  }
}
