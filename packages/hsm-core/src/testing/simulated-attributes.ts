/**
 * C_GetAttributeValue of a token in memory, including the bytes that a module would write (PKCS#11 3.0, section 5.7.5).
 */
import {
  ATTRIBUTE_SIZE,
  addressOf,
  type Cryptoki,
  CryptokiFailure,
  returnValueNumber,
  UNAVAILABLE,
  ulong,
} from '@antipode/cryptoki';

/** The answer for an attribute: its value, or a return value that ends the call. */
export type SimulatedValue = Buffer | number | boolean | { readonly returnValue: number };

const [ATTRIBUTE_TYPE_INVALID, OBJECT_HANDLE_INVALID, BUFFER_TOO_SMALL] = [
  returnValueNumber('CKR_ATTRIBUTE_TYPE_INVALID'),
  returnValueNumber('CKR_OBJECT_HANDLE_INVALID'),
  returnValueNumber('CKR_BUFFER_TOO_SMALL'),
];

export class SimulatedAttributes {
  /** Attributes of each object, by number. */
  readonly objects = new Map<bigint, Record<number, SimulatedValue>>();
  /** The attributes that each call asked for, by number. */
  readonly calls: number[][] = [];
  readonly cryptoki: Pick<Cryptoki, 'tryCall' | 'failure'> = {
    failure: (call, returned) => new CryptokiFailure(call, returned),
    tryCall: (_name, _session, object, template, count) =>
      this.#answer(object as bigint, template as Buffer, count as number),
  };

  #answer(object: bigint, template: Buffer, count: number): number {
    const memory = Buffer.from(template.buffer);
    const base = addressOf(memory);
    const asked = Array.from({ length: count }, (_, index) => index * ATTRIBUTE_SIZE);
    this.calls.push(asked.map((at) => Number(template.readBigUInt64LE(at))));
    const values = this.objects.get(object);
    if (values === undefined) return OBJECT_HANDLE_INVALID;
    let returned = 0;
    for (const at of asked) {
      const value = values[Number(template.readBigUInt64LE(at))];
      if (typeof value === 'object' && 'returnValue' in value) return value.returnValue;
      const bytes = value === undefined ? undefined : bytesOf(value);
      const [pointer, room] = [template.readBigUInt64LE(at + 8), template.readBigUInt64LE(at + 16)];
      const fits = bytes !== undefined && (pointer === 0n || BigInt(bytes.length) <= room);
      // A call has one return value. If both apply, SoftHSM gives the first of these two.
      if (bytes === undefined) returned = ATTRIBUTE_TYPE_INVALID;
      else if (!fits && returned === 0) returned = BUFFER_TOO_SMALL;
      if (fits && pointer !== 0n) memory.set(bytes, Number(pointer - base));
      template.writeBigUInt64LE(fits ? BigInt(bytes.length) : UNAVAILABLE, at + 16);
    }
    return returned;
  }
}

function bytesOf(value: Buffer | number | boolean): Buffer {
  if (typeof value === 'number') return ulong(value);
  return typeof value === 'boolean' ? Buffer.of(value ? 1 : 0) : value;
}
