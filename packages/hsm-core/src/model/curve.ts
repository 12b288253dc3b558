/**
 * Elliptic curves by CKA_EC_PARAMS: an object identifier or explicit parameters. Two curves may have the same size, so
 * a size identifies no curve. OpenSSL gives the domain parameters of all but three curves.
 */
import { createPublicKey, generateKeyPairSync, getCurves, type KeyObject } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { elements, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, type Tlv, tagged, tlvOf } from './der.ts';

/** y^2 = x^3 + ax + b over the field of p elements; n is the order of the generator (SEC 1, section 3.1.1.1). */
export interface Domain {
  readonly p: bigint;
  readonly a: bigint;
  readonly b: bigint;
  readonly n: bigint;
  readonly g: { readonly x: bigint; readonly y: bigint };
}

export interface Curve {
  /** CKA_EC_PARAMS, DER, hexadecimal. Keys with equal parameters are on the same curve. */
  readonly params: string;
  /** The curve's name in OpenSSL. Absent for explicit parameters of a curve without a name there. */
  readonly openssl?: string;
  /** Size of the field. */
  readonly bits: number;
  readonly fieldBytes: number;
  /** A hash for ECDSA over a digest. It is as long as the order, or shorter. */
  readonly hash: 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';
  /** Uncompressed. */
  readonly generator: Uint8Array;
  /** Absent if the field is binary. */
  readonly domain?: Domain;
}

export interface NamedCurve extends Curve {
  readonly openssl: string;
}

interface Described {
  readonly params: string;
  readonly openssl?: string | undefined;
  readonly bits: number;
  readonly orderBits: number;
  readonly generator: Uint8Array;
  readonly domain?: Domain | undefined;
}

function curve({ params, openssl, bits, orderBits, generator, domain }: Described): Curve {
  return {
    params,
    ...(openssl === undefined ? {} : { openssl }),
    bits,
    fieldBytes: Math.ceil(bits / 8),
    hash: HASHES.find(([length]) => length <= orderBits)?.[1] ?? 'sha1',
    generator,
    ...(domain === undefined ? {} : { domain }),
  };
}

const HASHES = [
  [512, 'sha512'],
  [384, 'sha384'],
  [256, 'sha256'],
  [224, 'sha224'],
] as const;

function nist(openssl: string, params: string, domain: Omit<Domain, 'a'>): NamedCurve {
  const bits = domain.p.toString(2).length;
  const point = (value: bigint): string => value.toString(16).padStart(2 * Math.ceil(bits / 8), '0');
  const generator = new Uint8Array(Buffer.from(`04${point(domain.g.x)}${point(domain.g.y)}`, 'hex'));
  return {
    ...curve({ params, bits, orderBits: bits, generator, domain: { ...domain, a: domain.p - 3n } }),
    openssl,
  };
}

/**
 * FIPS 186-5 / SP 800-186, section 3.2.1. They are written out, since every process needs the first of them at once.
 */
export const CURVES: readonly NamedCurve[] = [
  nist('prime256v1', '06082a8648ce3d030107', {
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    g: {
      x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
      y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
    },
  }),
  nist('secp384r1', '06052b81040022', {
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    g: {
      x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
      y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
    },
  }),
  nist('secp521r1', '06052b81040023', {
    p: 0x01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffn,
    b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    n: 0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    g: {
      x: 0x00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n,
      y: 0x011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n,
    },
  }),
];

/** Explicit parameters of the largest curve that OpenSSL accepts have some 450 bytes. */
const PARAMS_BYTES_MAX = 1024;
/** Anybody can make public objects with new parameters without end, so the memory of them is bounded. */
const REMEMBERED_MAX = 256;

const remembered = new Map<string, Curve | null>();

/** The curve of CKA_EC_PARAMS. Undefined if OpenSSL has no such curve, or does not accept the parameters. */
export function curveOf(ecParams: Uint8Array | undefined): Curve | undefined {
  if (ecParams === undefined || ecParams.length === 0 || ecParams.length > PARAMS_BYTES_MAX) return undefined;
  const params = hex(ecParams);
  const common = CURVES.find((one) => one.params === params);
  if (common !== undefined) return common;
  const known = remembered.get(params);
  if (known !== undefined) return known ?? undefined;
  const found = ecParams[0] === OBJECT_IDENTIFIER ? byIdentifier(params) : byParameters(ecParams);
  if (remembered.size >= REMEMBERED_MAX) remembered.clear();
  remembered.set(params, found ?? null);
  return found;
}

export const EC_PUBLIC_KEY = Buffer.from('06072a8648ce3d0201', 'hex');

/** The SubjectPublicKeyInfo of a point on the curve with these parameters (RFC 5480, section 2). */
export const ecSubject = (params: Uint8Array, point: Uint8Array): Uint8Array =>
  tagged(SEQUENCE, tagged(SEQUENCE, EC_PUBLIC_KEY, params), tagged(0x03, Uint8Array.of(0), point));

/** The curve parameters in a SubjectPublicKeyInfo. Undefined if it is not that of an EC key. */
export function paramsIn(publicHalf: Uint8Array): Uint8Array | undefined {
  const [algorithm] = elements(tlvOf(publicHalf, SEQUENCE)?.content ?? EMPTY);
  const [identifier, params] = algorithm?.tag === SEQUENCE ? elements(algorithm.content) : [];
  return identifier !== undefined && Buffer.compare(identifier.whole, EC_PUBLIC_KEY) === 0 ? params?.whole : undefined;
}

const EMPTY = new Uint8Array();

let names: ReadonlyMap<string, string> | undefined;

/**
 * OpenSSL shows the identifier of a curve only in a key. So this makes one key of each curve, which takes some 30 ms in
 * all.
 */
function byIdentifier(params: string): Curve | undefined {
  names ??= new Map(
    getCurves().flatMap((name) => {
      const own = paramsOf(() => generateKeyPairSync('ec', { namedCurve: name }));
      return own === undefined ? [] : [[hex(own), name] as const];
    }),
  );
  const openssl = names.get(params);
  const explicit =
    openssl && paramsOf(() => generateKeyPairSync('ec', { namedCurve: openssl, paramEncoding: 'explicit' }));
  return explicit ? described(explicit, { params, openssl }) : undefined;
}

function paramsOf(make: () => { publicKey: KeyObject }): Uint8Array | undefined {
  try {
    return paramsIn(new Uint8Array(make().publicKey.export({ format: 'der', type: 'spki' })));
  } catch {
    // Some curves of OpenSSL have no identifier.
    return undefined;
  }
}

/** Explicit parameters, which anybody can choose. They count if OpenSSL opens a key on them. */
function byParameters(ecParams: Uint8Array): Curve | undefined {
  const found = described(ecParams, { params: hex(ecParams) });
  if (found === undefined) return undefined;
  try {
    const key = createPublicKey({
      key: Buffer.from(ecSubject(ecParams, found.generator)),
      format: 'der',
      type: 'spki',
    });
    const openssl = key.asymmetricKeyDetails?.namedCurve;
    return openssl === undefined ? found : { ...found, openssl };
  } catch {
    return undefined;
  }
}

const PRIME_FIELD = '06072a8648ce3d0101';
const BINARY_FIELD = '06072a8648ce3d0102';
const BITS_MAX = 640;

/** ECParameters (RFC 3279, section 2.3.5), with an uncompressed generator. */
function described(ecParams: Uint8Array, named: { params: string; openssl?: string }): Curve | undefined {
  const [version, field, coefficients, base, order] = elements(tlvOf(ecParams, SEQUENCE)?.content ?? EMPTY);
  const [kind, prime] = field === undefined ? [] : elements(field.content);
  const [a, b] = coefficients === undefined ? [] : elements(coefficients.content);
  if (version?.tag !== INTEGER || base?.tag !== OCTET_STRING || order?.tag !== INTEGER || base.content[0] !== 4)
    return undefined;
  if (!kind || !prime || !a || !b) return undefined;
  const bits = fieldBits(hex(kind.whole), prime);
  const generator = base.content;
  const fieldBytes = Math.ceil(bits / 8);
  const n = toBigInt(order.content);
  if (bits === 0 || bits > BITS_MAX || n.toString(2).length > BITS_MAX || n < 2n) return undefined;
  if (generator.length !== 2 * fieldBytes + 1) return undefined;
  const domain: Domain = {
    p: toBigInt(prime.content),
    a: toBigInt(a.content),
    b: toBigInt(b.content),
    n,
    g: { x: toBigInt(generator.subarray(1, 1 + fieldBytes)), y: toBigInt(generator.subarray(1 + fieldBytes)) },
  };
  const isPrime = hex(kind.whole) === PRIME_FIELD;
  return curve({
    ...named,
    bits,
    orderBits: n.toString(2).length,
    generator: new Uint8Array(generator),
    domain: isPrime ? domain : undefined,
  });
}

function fieldBits(kind: string, { tag, content }: Tlv): number {
  if (kind === PRIME_FIELD && tag === INTEGER) return toBigInt(content).toString(2).length;
  const [size] = kind === BINARY_FIELD && tag === SEQUENCE ? elements(content) : [];
  return size?.tag === INTEGER && size.content.length <= 2 ? Number(toBigInt(size.content)) : 0;
}

export const toBigInt = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);
