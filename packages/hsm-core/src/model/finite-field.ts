/**
 * Public halves of keys in finite fields, DSA and Diffie-Hellman, as SubjectPublicKeyInfo (RFC 3279, sections 2.3.2 and
 * 2.3.3; PKCS #3 for DH without a subprime). All values are public, so nothing here needs to run in constant time.
 */
import { toBigInt } from './curve.ts';
import { elements, INTEGER, SEQUENCE, type Tlv, tagged, tlvOf } from './der.ts';
import { integer } from './public-half.ts';

/** Domain parameters as a token gives them: unsigned, the first byte first. */
export interface Field {
  readonly prime: Uint8Array;
  /** The order of the group, which DSA needs. */
  readonly subprime?: Uint8Array;
  readonly base: Uint8Array;
}

export interface FieldHalf extends Field {
  readonly publicValue: Uint8Array;
}

/** Larger ones cost seconds, and nobody has them. */
const PRIME_BYTES_MAX = 2048;

const DSA = Buffer.from('06072a8648ce380401', 'hex');
const DH_KEY_AGREEMENT = Buffer.from('06092a864886f70d010301', 'hex');
const BIT_STRING = 0x03;

export const dsaPublicHalf = ({ prime, subprime, base, publicValue }: FieldHalf): Uint8Array | undefined =>
  subprime === undefined || !isSound({ prime, base })
    ? undefined
    : subject(DSA, [integer(prime), integer(subprime), integer(base)], publicValue);

export const dhPublicHalf = ({ prime, base, publicValue }: FieldHalf): Uint8Array | undefined =>
  isSound({ prime, base }) ? subject(DH_KEY_AGREEMENT, [integer(prime), integer(base)], publicValue) : undefined;

const subject = (algorithm: Uint8Array, parameters: readonly Uint8Array[], publicValue: Uint8Array): Uint8Array =>
  tagged(
    SEQUENCE,
    tagged(SEQUENCE, algorithm, tagged(SEQUENCE, ...parameters)),
    tagged(BIT_STRING, Uint8Array.of(0), integer(publicValue)),
  );

/** An odd prime of a size that software can work with. Whether it is a prime is nobody's business here. */
const isSound = ({ prime, base }: Field): boolean =>
  base.length > 0 &&
  prime.length > 0 &&
  prime.length <= PRIME_BYTES_MAX &&
  (prime.at(-1)! & 1) === 1 &&
  bitsOf(prime) > 2;

/** The parts of a public half that one of the functions above has made. */
export function fieldIn(publicHalf: Uint8Array): FieldHalf | undefined {
  const [algorithm, bits] = partsOf(tlvOf(publicHalf, SEQUENCE));
  const [, parameters] = partsOf(algorithm);
  const [prime, ...rest] = partsOf(parameters).map(unsigned);
  const [subprime, base] = rest.length === 2 ? rest : [undefined, rest[0]];
  const value = bits && tlvOf(bits.content.subarray(1), INTEGER);
  if (prime === undefined || base === undefined || value === undefined) return undefined;
  return { prime, ...(subprime === undefined ? {} : { subprime }), base, publicValue: unsigned(value) };
}

const partsOf = (element: Tlv | undefined): Tlv[] => (element === undefined ? [] : elements(element.content));
const unsigned = ({ content }: Tlv): Uint8Array => (content[0] === 0 ? content.subarray(1) : content);

export function bitsOf(number: Uint8Array | undefined): number {
  if (number === undefined) return 0;
  const start = number.findIndex((byte) => byte !== 0);
  return start === -1 ? 0 : (number.length - start) * 8 - Math.clz32(number[start]!) + 24;
}

/** The value that software agrees upon with the holder of the private half. Our own half is fresh, and dropped. */
export function fieldAgreement(
  { prime, base, publicValue }: FieldHalf,
  random: Uint8Array,
): { publicValue: Uint8Array; secret: bigint } {
  const [p, exponent] = [toBigInt(prime), toBigInt(random)];
  const ours = power(toBigInt(base), exponent, p).toString(16);
  return {
    publicValue: Buffer.from(ours.padStart(prime.length * 2, '0'), 'hex'),
    secret: power(toBigInt(publicValue), exponent, p),
  };
}

function power(base: bigint, exponent: bigint, p: bigint): bigint {
  let [result, square] = [1n, base % p];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % p;
    square = (square * square) % p;
  }
  return result;
}
