/**
 * Finds the public key of an ECDSA signer from signatures (SEC 1, section 4.1.6), for tokens that keep a private key
 * without its point. All values are public, so nothing here needs to run in constant time.
 */
import { type Curve, type Domain, toBigInt } from './curve.ts';

type Point = Domain['g'];

/**
 * The uncompressed points that could have made `signature` (r || s) over `digest`: two, and in principle a few more.
 * The caller keeps the one that verifies another signature of the same key. A curve over a binary field gives no point.
 */
export function recoverPoints(curve: Curve, digest: Uint8Array, signature: Uint8Array): Uint8Array[] {
  const { domain } = curve;
  if (domain === undefined) return [];
  const half = signature.length / 2;
  const r = toBigInt(signature.subarray(0, half));
  const s = toBigInt(signature.subarray(half));
  // Leftmost bits of the digest, as many as n has (section 4.1.4 step 3).
  const excess = Math.max(0, digest.length * 8 - domain.n.toString(2).length);
  const e = toBigInt(digest) >> BigInt(excess);
  const inverseR = inverse(r, domain.n);
  const ofDigest = multiply(domain, domain.n - (e % domain.n), domain.g);
  const points: Uint8Array[] = [];
  for (const x of [0n, 1n, 2n, 3n, 4n].map((times) => r + times * domain.n)) {
    if (x >= domain.p) break;
    const y = squareRoot(domain, x);
    if (y === undefined) continue;
    const times = multiply(domain, s, { x, y });
    for (const one of [times, times && { x: times.x, y: domain.p - times.y }]) {
      const sum = add(domain, one, ofDigest);
      const point = sum && multiply(domain, inverseR, sum);
      if (point)
        points.push(
          Buffer.concat([Uint8Array.of(4), toBytes(point.x, curve.fieldBytes), toBytes(point.y, curve.fieldBytes)]),
        );
    }
  }
  return points;
}

/** The point with this x-coordinate. Undefined if there is none, or if the field is binary. */
export function pointAt(curve: Curve, x: Uint8Array, { isOdd }: { isOdd: boolean }): Uint8Array | undefined {
  const { domain, fieldBytes } = curve;
  const y = domain && squareRoot(domain, toBigInt(x));
  if (domain === undefined || y === undefined || toBigInt(x) >= domain.p) return undefined;
  const chosen = (y & 1n) === (isOdd ? 1n : 0n) ? y : domain.p - y;
  return new Uint8Array(Buffer.concat([Uint8Array.of(4), x, toBytes(chosen, fieldBytes)]));
}

/**
 * The secret that software agrees upon with the holder of the private half of `point`. Our own half is fresh, and
 * dropped.
 */
export function agreement(
  { domain, fieldBytes }: Curve,
  point: Uint8Array,
  random: bigint,
): { point: Uint8Array; secret: Uint8Array } | undefined {
  if (domain === undefined) return undefined;
  const scalar = 1n + (random % (domain.n - 1n));
  const theirs = { x: toBigInt(point.subarray(1, 1 + fieldBytes)), y: toBigInt(point.subarray(1 + fieldBytes)) };
  const [ours, shared] = [multiply(domain, scalar, domain.g), multiply(domain, scalar, theirs)];
  if (ours === undefined || shared === undefined) return undefined;
  return {
    point: Buffer.concat([Uint8Array.of(4), toBytes(ours.x, fieldBytes), toBytes(ours.y, fieldBytes)]),
    secret: toBytes(shared.x, fieldBytes),
  };
}

const mod = (value: bigint, p: bigint): bigint => ((value % p) + p) % p;

/** How many numbers are tried to find one without a square root. Every second number has one. */
const TRIES_MAX = 128n;

/** y with y^2 = x^3 + ax + b, by Tonelli and Shanks. Undefined if there is none. It ends even if p is not prime. */
function squareRoot({ p, a, b }: Domain, x: bigint): bigint | undefined {
  const square = mod(x * x * x + a * x + b, p);
  let odd = p - 1n;
  let twos = 0;
  for (; odd > 0n && (odd & 1n) === 0n; odd >>= 1n) twos += 1;
  let root = power(square, (odd + 1n) / 2n, p);
  let rest = power(square, odd, p);
  let nonResidue = 2n;
  if (twos > 1) while (nonResidue < TRIES_MAX && power(nonResidue, (p - 1n) / 2n, p) !== p - 1n) nonResidue += 1n;
  let factor = power(nonResidue, odd, p);
  for (let order = twos; rest > 1n; ) {
    let least = 0;
    for (let one = rest; one !== 1n && least < order; one = (one * one) % p) least += 1;
    if (least >= order) return undefined;
    const step = power(factor, 1n << BigInt(order - least - 1), p);
    factor = (step * step) % p;
    [root, rest, order] = [(root * step) % p, (rest * factor) % p, least];
  }
  return (root * root) % p === square ? root : undefined;
}

function add(domain: Domain, a: Point | undefined, b: Point | undefined): Point | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  const { p } = domain;
  if (a.x === b.x && mod(a.y + b.y, p) === 0n) return undefined;
  const slope = a.x === b.x ? (3n * a.x * a.x + domain.a) * inverse(2n * a.y, p) : (b.y - a.y) * inverse(b.x - a.x, p);
  const x = mod(slope * slope - a.x - b.x, p);
  return { x, y: mod(slope * (a.x - x) - a.y, p) };
}

/** With Z: the point is (X / Z^2, Y / Z^3). So a multiplication needs one inverse and not one for each bit. */
interface Jacobian {
  readonly x: bigint;
  readonly y: bigint;
  readonly z: bigint;
}

function multiply(domain: Domain, factor: bigint, point: Point): Point | undefined {
  const { p } = domain;
  let result: Jacobian | undefined;
  for (const bit of mod(factor, domain.n).toString(2)) {
    result = result && doubled(domain, result);
    if (bit === '1') result = result === undefined ? { ...point, z: 1n } : sumOf(domain, result, point);
  }
  if (result === undefined) return undefined;
  const inverseZ = inverse(result.z, p);
  const square = (inverseZ * inverseZ) % p;
  return { x: mod(result.x * square, p), y: mod(result.y * square * inverseZ, p) };
}

function doubled({ p, a }: Domain, { x, y, z }: Jacobian): Jacobian | undefined {
  if (mod(y, p) === 0n) return undefined;
  const yy = (y * y) % p;
  const zz = (z * z) % p;
  const s = (4n * x * yy) % p;
  const m = (3n * x * x + a * zz * zz) % p;
  const doubledX = mod(m * m - 2n * s, p);
  return { x: doubledX, y: mod(m * (s - doubledX) - 8n * yy * yy, p), z: mod(2n * y * z, p) };
}

function sumOf(domain: Domain, one: Jacobian, other: Point): Jacobian | undefined {
  const { p } = domain;
  const zz = (one.z * one.z) % p;
  const h = mod(other.x * zz - one.x, p);
  const r = mod(other.y * one.z * zz - one.y, p);
  if (h === 0n) return r === 0n ? doubled(domain, one) : undefined;
  const hh = (h * h) % p;
  const hhh = (h * hh) % p;
  const v = (one.x * hh) % p;
  const x = mod(r * r - hhh - 2n * v, p);
  return { x, y: mod(r * (v - x) - one.y * hhh, p), z: (one.z * h) % p };
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

const toBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
