/**
 * Describes for people an object whose class or key type is outside the model. Nothing is decided by it. Only these
 * objects cost another call, for the attributes that tell their size.
 */
import { AttributeReader, CKA, type Cryptoki } from '@antipode/cryptoki';
import type { Values } from '../../key-kinds/key-kind.ts';
import { curveOf } from '../../model/curve.ts';
import { bitsOf } from '../../model/finite-field.ts';
import type { Handle, ObjectClass, Outside } from '../../model/object.ts';

export class OutsideReader {
  readonly #sizes: AttributeReader;

  constructor({ cryptoki, session }: { cryptoki: Pick<Cryptoki, 'tryCall' | 'failure'>; session: bigint }) {
    this.#sizes = new AttributeReader({
      cryptoki,
      session,
      wanted: [],
      // A token may fail of what an object of that type does not have.
      fragile: [
        ...[CKA.MODULUS_BITS, CKA.VALUE_BITS, CKA.VALUE_LEN, CKA.PARAMETER_SET].map(
          (type) => ({ type, size: 'fixed' }) as const,
        ),
        ...[CKA.MODULUS, CKA.PRIME, CKA.EC_PARAMS].map((type) => ({ type, size: 'variable' }) as const),
      ],
    });
  }

  /** `shown` are the attributes that were read of it already. */
  describe(handle: Handle, objectClass: ObjectClass | 'other', shown: Values): Outside {
    const [shownClass, keyType] = [numberOf(shown(CKA.CLASS)), numberOf(shown(CKA.KEY_TYPE))];
    const [label, id] = objectClass === 'other' ? [shown(CKA.LABEL), shown(CKA.ID)] : [];
    const text = {
      ...(label?.length ? { label: new Uint8Array(label) } : {}),
      ...(id?.length ? { id: new Uint8Array(id) } : {}),
    };
    const kind = {
      ...(shownClass === undefined ? {} : { objectClass: shownClass }),
      ...(keyType === undefined ? {} : { keyType }),
    };
    return { ...kind, ...text, ...(keyType === undefined ? {} : this.#sizeOf(handle)) };
  }

  #sizeOf(handle: Handle): Pick<Outside, 'sizeBits' | 'parameterSet'> {
    const sizes = this.#sizes;
    const outsized = [CKA.MODULUS, CKA.PRIME, CKA.EC_PARAMS];
    if (!sizes.read(handle) || !sizes.complete(handle, outsized)) return {};
    const number = (type: number): number => numberOf(sizes.value(type)) ?? 0;
    const sizeBits =
      bitsOf(sizes.value(CKA.MODULUS)) ||
      number(CKA.MODULUS_BITS) ||
      bitsOf(sizes.value(CKA.PRIME)) ||
      (curveOf(sizes.value(CKA.EC_PARAMS))?.bits ?? 0) ||
      number(CKA.VALUE_BITS) ||
      number(CKA.VALUE_LEN) * 8;
    const parameterSet = number(CKA.PARAMETER_SET);
    return { ...(sizeBits > 0 ? { sizeBits } : {}), ...(parameterSet > 0 ? { parameterSet } : {}) };
  }
}

const numberOf = (value: Buffer | undefined): number | undefined =>
  value?.length === 8 ? Number(value.readBigUInt64LE()) : undefined;
