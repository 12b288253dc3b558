/** Reads what lies in the partition, and takes single objects away again. */
import { randomBytes } from 'node:crypto';
import { CKA, CryptokiFailure, type Template } from '@antipode/cryptoki';
import { systemClock } from '@antipode/runtime';
import { kindOfObject } from '../key-kinds/kinds.ts';
import { ATTRIBUTES, USES } from '../model/attributes.ts';
import type { Handle, ObservedObject } from '../model/object.ts';
import { LookLog } from '../objects/look-log.ts';
import type { Look, PartitionReader } from '../provider/reader.ts';
import type { HiddenObjects } from './native/hidden-objects.ts';
import type { StoreAge } from './native/store-age.ts';
import type { ObjectReader } from './reading/object-reader.ts';
import type { PublicHalves } from './reading/public-halves.ts';
import type { SessionProbe } from './session/session-probe.ts';
import type { TokenSession } from './token-session.ts';

/** Tighter scans made key generation of other processes fail, and showed their half-made keys (facts: pkcs11, 8). */
export const SCAN_GAP_MS = 250;

export class Pkcs11Reader implements PartitionReader {
  readonly #context: TokenSession;
  readonly #objects: ObjectReader;
  readonly #publicHalves: PublicHalves;
  readonly #probe: SessionProbe;
  readonly #reusesHandles: boolean;
  readonly #hidden: HiddenObjects | undefined;
  readonly #age: StoreAge;
  readonly #looks = new LookLog();
  #lastLookMs = Number.NEGATIVE_INFINITY;

  constructor(
    { cryptoki, session }: TokenSession,
    parts: {
      readonly objects: ObjectReader;
      readonly publicHalves: PublicHalves;
      readonly probe: SessionProbe;
      readonly reusesHandles: boolean;
      readonly hidden: HiddenObjects | undefined;
      readonly age: StoreAge;
    },
  ) {
    this.#context = { cryptoki, session };
    this.#objects = parts.objects;
    this.#publicHalves = parts.publicHalves;
    this.#probe = parts.probe;
    this.#reusesHandles = parts.reusesHandles;
    this.#hidden = parts.hidden;
    this.#age = parts.age;
  }

  async look({ since, handles }: { since?: number; handles?: readonly Handle[] }): Promise<Look> {
    const restMs = SCAN_GAP_MS - (systemClock.monotonicMs() - this.#lastLookMs);
    if (restMs > 0) await systemClock.sleep(restMs);
    const isWhole = handles === undefined;
    const endOfLook = isWhole ? this.#age.begin() : undefined;
    const number = this.#looks.begin();
    const present: Handle[] = [];
    const objects: ObservedObject[] = [];
    for (const handle of handles ?? this.#context.cryptoki.find(this.#context.session, [[CKA.TOKEN, true]])) {
      const readDigest = this.#objects.readDigest(handle);
      if (readDigest === undefined) {
        this.forget(handle);
        continue;
      }
      present.push(handle);
      const hasChanged = this.#looks.hasChanged(handle, readDigest, since);
      if (!hasChanged && !this.#reusesHandles) continue;
      const object = this.#objects.describe();
      if (hasChanged || isMute(object)) objects.push(object);
    }
    if (isWhole) for (const handle of this.#looks.endWhole()) this.forget(handle);
    // Finding public halves by use is not a scan, and goes on while the next look waits.
    this.#lastLookMs = systemClock.monotonicMs();
    const olderFor = endOfLook?.();
    const hidden = isWhole ? await this.#hidden?.beside(present) : undefined;
    return {
      number,
      handles: BigUint64Array.from(present),
      objects: this.#publicHalves.complete(objects),
      ...(hidden?.length ? { hidden } : {}),
      ...(olderFor?.length ? { olderFor } : {}),
    };
  }

  async inventory(): Promise<ObservedObject[]> {
    return [...(await this.look({})).objects];
  }

  async read(
    handles: readonly Handle[],
    publicHalves: readonly (Uint8Array | undefined)[] = [],
  ): Promise<(ObservedObject | undefined)[]> {
    const objects = handles.map((handle) => this.#objects.read(handle));
    return this.#publicHalves.complete(objects, publicHalves);
  }

  async destroy(handles: readonly Handle[], readDigests: readonly (string | undefined)[] = []): Promise<Handle[]> {
    return handles.filter((handle, index) => {
      const expected = readDigests[index];
      if (expected !== undefined) {
        const found = this.#objects.readDigest(handle);
        if (found !== expected) return found !== undefined;
      }
      try {
        this.#probe.release(handle);
        this.#context.cryptoki.destroy(this.#context.session, handle);
        this.forget(handle);
        return false;
      } catch (thrown) {
        // Whatever the token says of one object, it holds up no other.
        if (thrown instanceof CryptokiFailure) return true;
        throw thrown;
      }
    });
  }

  async hide(handles: readonly Handle[], readDigests: readonly string[]): Promise<Handle[]> {
    return handles.filter((handle, index) => {
      const object = this.#objects.read(handle);
      if (object === undefined) return false;
      if (object.readDigest !== readDigests[index]) return true;
      return !this.#hide(object);
    });
  }

  /** One template where the token takes it whole; else the names, which matter most, and then each use by itself. */
  #hide({ handle, objectClass, attributes }: ObservedObject): boolean {
    if (objectClass === 'other') return false;
    const tag = randomBytes(8).toString('hex');
    const names: [number, Buffer][] = [[CKA.LABEL, Buffer.from(`antipode hidden ${tag}`)]];
    if (attributes.id !== undefined) names.push([CKA.ID, randomBytes(16)]);
    const uses = USES.filter((use) => attributes[use] === true).map((use) => [ATTRIBUTES[use].type, false] as const);
    const set = (template: Template): boolean => {
      try {
        this.#context.cryptoki.setAttributes(this.#context.session, handle, template);
        return true;
      } catch (thrown) {
        if (!(thrown instanceof CryptokiFailure)) throw thrown;
        return false;
      }
    };
    try {
      if (set([...names, ...uses])) return true;
      const isHidden = set(names);
      for (const use of uses) set([use]);
      return isHidden;
    } finally {
      this.forget(handle);
    }
  }

  /** The handle means nothing any more, or may come to mean another object. */
  forget(handle: Handle): void {
    this.#looks.forget(handle);
    this.#objects.forget(handle);
    this.#publicHalves.forget(handle);
  }
}

/**
 * Whether nothing that is read of an object tells its value: then another one may look just the same. A device that
 * uses handles again reports such an object at every look, so that it is examined.
 */
const isMute = (object: ObservedObject): boolean =>
  (object.objectClass === 'secret-key' && !object.attributes.checkValue?.length) ||
  (object.objectClass === 'private-key' && kindOfObject(object)?.pair?.showsPublicHalf !== true);
