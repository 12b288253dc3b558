/**
 * Edwards and Montgomery curves by CKA_EC_PARAMS (PKCS#11 3.0, sections 2.3.5 and 2.3.6), and public halves on them
 * (RFC 8410).
 */
import { bytesEqual } from '@antipode/runtime';
import { OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, tagged, tlvOf } from './der.ts';

export type TwistedName = 'ed25519' | 'ed448' | 'x25519' | 'x448';

export interface TwistedCurve {
  readonly bits: number;
  readonly pointBytes: number;
  /** RFC 8410, section 3. */
  readonly identifier: Uint8Array;
  /** Every form that CKA_EC_PARAMS has at some token. */
  readonly params: readonly Uint8Array[];
}

const PRINTABLE_STRING = 0x13;
const BIT_STRING = 0x03;

/** `name` is the one of PKCS#11, `other` an identifier from before RFC 8410. */
function curve(options: { bits: number; pointBytes: number; oid: string; name: string; other?: string }): TwistedCurve {
  const identifier = tagged(OBJECT_IDENTIFIER, Buffer.from(options.oid, 'hex'));
  return {
    bits: options.bits,
    pointBytes: options.pointBytes,
    identifier,
    params: [
      identifier,
      tagged(PRINTABLE_STRING, Buffer.from(options.name)),
      ...(options.other === undefined ? [] : [tagged(OBJECT_IDENTIFIER, Buffer.from(options.other, 'hex'))]),
    ],
  };
}

export const TWISTED: Readonly<Record<TwistedName, TwistedCurve>> = {
  ed25519: curve({ bits: 255, pointBytes: 32, oid: '2b6570', name: 'edwards25519', other: '2b06010401da470f01' }),
  ed448: curve({ bits: 448, pointBytes: 57, oid: '2b6571', name: 'edwards448' }),
  x25519: curve({ bits: 255, pointBytes: 32, oid: '2b656e', name: 'curve25519', other: '2b060104019755010501' }),
  x448: curve({ bits: 448, pointBytes: 56, oid: '2b656f', name: 'curve448' }),
};

export const isOn = (name: TwistedName, params: Uint8Array | undefined): boolean =>
  params !== undefined && TWISTED[name].params.some((form) => bytesEqual(form, params));

/** Undefined if the point does not have the curve's length. By the standard it is bare; on some tokens it is wrapped. */
export function twistedPublicHalf(name: TwistedName, encoded: Uint8Array | undefined): Uint8Array | undefined {
  const { pointBytes, identifier } = TWISTED[name];
  const point = encoded && (encoded.length === pointBytes ? encoded : tlvOf(encoded, OCTET_STRING)?.content);
  if (point?.length !== pointBytes) return undefined;
  return tagged(SEQUENCE, tagged(SEQUENCE, identifier), tagged(BIT_STRING, Uint8Array.of(0), point));
}
