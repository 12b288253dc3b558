/**
 * Where the public half of a private key may be found. Nothing of it is believed unless the key's own use bears it out.
 */
import { bytesEqual, hex } from '@antipode/runtime';
import type { ObservedObject } from '../../model/object.ts';

/** Public keys that were seen beside private ones, by CKA_ID. */
export class PublicKeys {
  readonly #byType: ReadonlyMap<string | undefined, readonly ObservedObject[]>;
  readonly #byId: ReadonlyMap<string, readonly ObservedObject[]>;

  constructor(objects: readonly ObservedObject[]) {
    const all = objects.filter(
      ({ objectClass, publicHalf }) => objectClass === 'public-key' && publicHalf !== undefined,
    );
    this.#byType = Map.groupBy(all, ({ keyType }) => keyType);
    this.#byId = Map.groupBy(all, idOf);
  }

  /** The likeliest first, and no more than are worth a trial. */
  *candidates(key: ObservedObject): Generator<Uint8Array> {
    const sameId = this.#byId.get(idOf(key)) ?? [];
    const sameType = this.#byType.get(key.keyType) ?? [];
    let tried = 0;
    for (const among of [sameId, sameType])
      for (const one of among) {
        if (tried === CANDIDATES_MAX) return;
        if (!isOnCurveOf(key, one) || (among !== sameId && sameId.includes(one))) continue;
        tried += 1;
        yield one.publicHalf!;
      }
  }
}

const idOf = ({ keyType, attributes: { id } }: ObservedObject): string => `${keyType}:${hex(id ?? new Uint8Array())}`;

/** By the parameters: a curve of the same size is another, and a generator that somebody chose makes another, too. */
const isOnCurveOf = ({ curveParams: of = NONE }: ObservedObject, { curveParams = NONE }: ObservedObject): boolean =>
  bytesEqual(of, curveParams);

const NONE = new Uint8Array();

/** Recovering a point costs as much as some hundred verifications. */
const CANDIDATES_MAX = 64;

/** Where to look first. None of it is believed unless the key's own use bears it out. */
export interface Clues {
  readonly publicKeys: PublicKeys;
  /** The public half that a manifest names. */
  readonly expected?: Uint8Array | undefined;
}
