/**
 * Fills a token, in a process of its own: `node fill.ts '{"token":...,"keys":...,"first":0}'`. All keys are sensitive and
 * extractable, with one use each. AES and EC keys are generated in the token; RSA keys are imported, since a token takes a
 * fifth of a second to find the primes of one.
 */
import { generatePrimeSync } from 'node:crypto';
import { CKA, CKK, CKM, CKO, type Cryptoki, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { onToken } from '../../support/raw-token.ts';
import type { FillOrder } from './keys.ts';

const [PRIVATE, LABEL, ID, SENSITIVE, EXTRACTABLE] = [0x002, 0x003, 0x102, 0x103, 0x162];
const [ENCRYPT, DECRYPT, WRAP, UNWRAP, SIGN, VERIFY, DERIVE] = [0x104, 0x105, 0x106, 0x107, 0x108, 0x10a, 0x10c];
const [SIGN_RECOVER, VERIFY_RECOVER] = [0x109, 0x10b];

const flags = (off: readonly number[], on: readonly number[]): Template => [
  ...off.map((flag) => [flag, false] as const),
  ...on.map((flag) => [flag, true] as const),
];

const names = (index: number): Template => {
  const id = Buffer.alloc(8);
  id.writeBigUInt64BE(BigInt(index));
  return [
    [CKA.TOKEN, true],
    [LABEL, Buffer.from(`key ${index}`)],
    [ID, id],
  ];
};
const SECRET: Template = flags([], [PRIVATE, SENSITIVE, EXTRACTABLE]);
const AES_USE = flags([WRAP, UNWRAP, SIGN, VERIFY, DERIVE], [ENCRYPT, DECRYPT]);
const PRIVATE_USE = flags([DECRYPT, UNWRAP, SIGN_RECOVER, DERIVE], [SIGN]);
const PUBLIC_USE = flags([PRIVATE, ENCRYPT, WRAP, VERIFY_RECOVER, DERIVE], [VERIFY]);

const makeAes = (cryptoki: Cryptoki, session: bigint, index: number): void => {
  cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
    ...names(index),
    [CKA.VALUE_LEN, 32],
    ...SECRET,
    ...AES_USE,
  ]);
};

const makeEc = (cryptoki: Cryptoki, session: bigint, index: number): void => {
  cryptoki.generateKeyPair(
    session,
    mechanism(CKM.EC_KEY_PAIR_GEN),
    [...names(index), [CKA.EC_PARAMS, P256_PARAMS], ...PUBLIC_USE],
    [...names(index), ...SECRET, ...PRIVATE_USE],
  );
};

const EXPONENT = 65_537n;

/** Pairs from a small pool of primes: every modulus is another one, and none of them is safe. Good for measuring only. */
function* rsaPrimes(wanted: number): Generator<readonly [bigint, bigint]> {
  const pool: bigint[] = [];
  for (let made = 0; made < wanted; ) {
    const prime = generatePrimeSync(1_024, { bigint: true });
    if ((prime - 1n) % EXPONENT === 0n) continue;
    for (const other of pool) {
      yield prime > other ? [prime, other] : [other, prime];
      made += 1;
      if (made === wanted) return;
    }
    pool.push(prime);
  }
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b !== 0n) {
    const quotient = a / b;
    [a, b, x, y] = [b, a - quotient * b, y, x - quotient * y];
  }
  return ((x % modulus) + modulus) % modulus;
}

const bytesOf = (number: bigint): Buffer => {
  const digits = number.toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
};

const makeRsa = (cryptoki: Cryptoki, session: bigint, index: number, [p, q]: readonly [bigint, bigint]): void => {
  const d = inverse(EXPONENT, (p - 1n) * (q - 1n));
  const [modulus, publicExponent] = [bytesOf(p * q), bytesOf(EXPONENT)];
  const common: Template = [...names(index), [CKA.KEY_TYPE, CKK.RSA], [CKA.MODULUS, modulus]];
  cryptoki.create(session, [
    [CKA.CLASS, CKO.PUBLIC_KEY],
    ...common,
    [CKA.PUBLIC_EXPONENT, publicExponent],
    ...PUBLIC_USE,
  ]);
  cryptoki.create(session, [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    ...common,
    [CKA.PUBLIC_EXPONENT, publicExponent],
    [0x123, bytesOf(d)],
    [0x124, bytesOf(p)],
    [0x125, bytesOf(q)],
    [0x126, bytesOf(d % (p - 1n))],
    [0x127, bytesOf(d % (q - 1n))],
    [0x128, bytesOf(inverse(q, p))],
    ...SECRET,
    ...PRIVATE_USE,
  ]);
};

const { token, keys, first }: FillOrder = JSON.parse(process.argv[2] ?? '{}');
onToken(token, (cryptoki, session) => {
  let index = first;
  const primes = rsaPrimes(keys.rsa);
  // Mixed up as an application would have made them, not one kind after the other.
  for (const left = { ...keys }; left.aes + left.ec + left.rsa > 0; index += 1) {
    const share = (kind: keyof typeof keys): number => (keys[kind] === 0 ? 0 : left[kind] / keys[kind]);
    const kind = (['aes', 'ec', 'rsa'] as const).reduce((most, one) => (share(one) > share(most) ? one : most));
    left[kind] -= 1;
    if (kind === 'aes') makeAes(cryptoki, session, index);
    else if (kind === 'ec') makeEc(cryptoki, session, index);
    else makeRsa(cryptoki, session, index, primes.next().value as readonly [bigint, bigint]);
  }
});
