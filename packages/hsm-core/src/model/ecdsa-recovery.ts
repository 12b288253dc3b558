/**
 * Finds the public key of an ECDSA signer from signatures (SEC 1, section 4.1.6), for tokens that keep a private key
 * without its point. Public values only, so nothing here needs to run in constant time.
 */
import type { Curve } from './public-half.ts';

interface Domain {
  readonly p: bigint;
  readonly b: bigint;
  readonly n: bigint;
  readonly g: Point;
}
interface Point {
  readonly x: bigint;
  readonly y: bigint;
}

/** FIPS 186-5 / SP 800-186, section 3.2.1; a = p - 3 on all three. */
const DOMAINS: Record<Curve['name'], Domain> = {
  'P-256': {
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    g: {
      x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
      y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
    },
  },
  'P-384': {
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    g: {
      x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
      y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
    },
  },
  'P-521': {
    p: 0x01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffn,
    b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    n: 0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    g: {
      x: 0x00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n,
      y: 0x011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n,
    },
  },
};

/**
 * The points (uncompressed) that could have made `signature` (r || s) over `digest`: two, and in principle four.
 * The caller keeps the one that verifies another signature of the same key.
 */
export function recoverPoints(curve: Curve, digest: Uint8Array, signature: Uint8Array): Uint8Array[] {
  const domain = DOMAINS[curve.name];
  const half = signature.length / 2;
  const r = toBigInt(signature.subarray(0, half));
  const s = toBigInt(signature.subarray(half));
  // Leftmost bits of the digest, as many as n has (section 4.1.4 step 3).
  const excess = Math.max(0, digest.length * 8 - domain.n.toString(2).length);
  const e = toBigInt(digest) >> BigInt(excess);
  const inverseR = inverse(r, domain.n);
  const points: Uint8Array[] = [];
  for (const x of [r, r + domain.n]) {
    if (x >= domain.p) continue;
    const y = squareRoot(domain, x);
    if (y === undefined) continue;
    for (const candidate of [y, domain.p - y]) {
      const sum = add(
        domain,
        multiply(domain, s, { x, y: candidate }),
        multiply(domain, domain.n - (e % domain.n), domain.g),
      );
      const point = sum && multiply(domain, inverseR, sum);
      if (point)
        points.push(
          Buffer.concat([Uint8Array.of(4), toBytes(point.x, curve.fieldBytes), toBytes(point.y, curve.fieldBytes)]),
        );
    }
  }
  return points;
}

/** The generator of a curve, uncompressed: agreeing with it yields a private key's own x-coordinate. */
export function generator(curve: Curve): Uint8Array {
  const { g } = DOMAINS[curve.name];
  return Buffer.concat([Uint8Array.of(4), toBytes(g.x, curve.fieldBytes), toBytes(g.y, curve.fieldBytes)]);
}

const mod = (value: bigint, p: bigint): bigint => ((value % p) + p) % p;

/** y with y^2 = x^3 - 3x + b; all three primes are 3 mod 4. */
function squareRoot({ p, b }: Domain, x: bigint): bigint | undefined {
  const square = mod(x * x * x - 3n * x + b, p);
  const root = power(square, (p + 1n) / 4n, p);
  return mod(root * root, p) === square ? root : undefined;
}

function add(domain: Domain, a: Point | undefined, b: Point | undefined): Point | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  const { p } = domain;
  if (a.x === b.x && mod(a.y + b.y, p) === 0n) return undefined;
  const slope = a.x === b.x ? (3n * a.x * a.x - 3n) * inverse(2n * a.y, p) : (b.y - a.y) * inverse(b.x - a.x, p);
  const x = mod(slope * slope - a.x - b.x, p);
  return { x, y: mod(slope * (a.x - x) - a.y, p) };
}

function multiply(domain: Domain, factor: bigint, point: Point): Point | undefined {
  let result: Point | undefined;
  let addend: Point | undefined = point;
  for (let rest = mod(factor, domain.n); rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = add(domain, result, addend);
    addend = add(domain, addend, addend);
  }
  return result;
}

function inverse(value: bigint, p: bigint): bigint {
  let [a, b] = [mod(value, p), p];
  let [x, y] = [1n, 0n];
  while (b > 0n) {
    const quotient = a / b;
    [a, b] = [b, a - quotient * b];
    [x, y] = [y, x - quotient * y];
  }
  return mod(x, p);
}

function power(base: bigint, exponent: bigint, p: bigint): bigint {
  let [result, square] = [1n, mod(base, p)];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % p;
    square = (square * square) % p;
  }
  return result;
}

const toBigInt = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);

const toBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
