/**
 * Private keys that SoftHSM 2.6.1 gives to nobody. Every mechanism of the token is asked to wrap each of them, and keys
 * that it does give for comparison. The page of the device has the answers; `KEY_TABLE=write` writes them again.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import {
  answerOf,
  CKA,
  CKK,
  CKM,
  CKO,
  type Cryptoki,
  type Mechanism,
  mechanism,
  rsaOaep,
  type Template,
} from '@antipode/cryptoki';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { flags } from '../../attacks/support/templates.ts';
import { onToken } from '../../support/raw-token.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';
import { CRT, rsaParts } from '../../support/zoo/rsa.ts';
import { pageBetween, tableOf } from '../../support/zoo/table.ts';

const PAGE = 'docs/devices/softhsm2.md';
const BEGIN = '<!-- Made by test/integration/tokens/unwrappable.int.test.ts. KEY_TABLE=write makes it again. -->';

/** The numbers of all mechanisms of PKCS#11 2.40. A token answers CKR_MECHANISM_INVALID to those that it does not offer. */
const NUMBERS = 0x2200;
const NOT_OFFERED = 'CKR_MECHANISM_INVALID';
const WRAPPED = 'wrapped';
/** RFC 3394. We do not use it. */
const AES_KEY_WRAP = 0x2109;

/** For comparison. */
const GIVEN = 'RSA-2048';
const REFUSED = [
  'RSA-2048 without CRT parts',
  'RSA-2048 without public exponent',
  'Ed25519',
  'X25519',
  'Ed448',
  'X448',
];

type Answers = ReadonlyMap<number, string>;
let token: TestToken;
let answers: ReadonlyMap<string, Answers>;
beforeAll(() => {
  token = makeToken('unwrappable');
  answers = onToken(token, askAll);
  if (process.env['KEY_TABLE'] === 'write') writeFileSync(PAGE, pageWith(readFileSync(PAGE, 'utf8')));
});
afterAll(() => token?.remove());

const PORTABLE_SESSION: Template = [
  [CKA.TOKEN, false],
  ...flags({ private: true, sensitive: true, extractable: true }),
];

const rsaOf = (key: KeyObject, without: readonly number[] = []): Template => [
  [CKA.CLASS, CKO.PRIVATE_KEY],
  [CKA.KEY_TYPE, CKK.RSA],
  ...PORTABLE_SESSION,
  ...rsaParts(key, without),
];

function askAll(cryptoki: Cryptoki, session: bigint): Map<string, Answers> {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const twisted = (oid: string): bigint =>
    cryptoki.generateKeyPair(
      session,
      mechanism(CKM.EC_EDWARDS_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, Buffer.from(oid, 'hex')],
      ],
      PORTABLE_SESSION,
    ).privateKey;
  const keys = new Map<string, bigint>([
    ['RSA-2048', cryptoki.create(session, rsaOf(rsa))],
    ['RSA-2048 without CRT parts', cryptoki.create(session, rsaOf(rsa, CRT))],
    ['RSA-2048 without public exponent', cryptoki.create(session, rsaOf(rsa, [CKA.PUBLIC_EXPONENT]))],
    ['Ed25519', twisted('06032b6570')],
    ['X25519', twisted('06032b656e')],
    ['Ed448', twisted('06032b6571')],
    ['X448', twisted('06032b656f')],
  ]);
  const wrapping = wrappingKeys(cryptoki, session);
  return new Map(
    [...keys].map(([kind, key]) => [
      kind,
      new Map(
        Array.from({ length: NUMBERS }, (_, number) => [number, ask({ cryptoki, session, wrapping, key }, number)]),
      ),
    ]),
  );
}

/** One of each kind that may wrap by some mechanism. */
function wrappingKeys(cryptoki: Cryptoki, session: bigint): bigint[] {
  const wraps: Template = [[CKA.TOKEN, false], ...flags({ wrap: true })];
  const { publicKey } = cryptoki.generateKeyPair(
    session,
    mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
    [...wraps, [CKA.MODULUS_BITS, 4096], [CKA.PUBLIC_EXPONENT, Uint8Array.of(1, 0, 1)]],
    [[CKA.TOKEN, false]],
  );
  return [
    cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [...wraps, [CKA.VALUE_LEN, 32]]),
    cryptoki.generateKey(session, mechanism(CKM.DES3_KEY_GEN), wraps),
    publicKey,
  ];
}

const PARAMETERS: ReadonlyMap<number, Mechanism> = new Map([
  [CKM.RSA_PKCS_OAEP, rsaOaep()],
  [CKM.AES_CBC, { type: CKM.AES_CBC, parameter: Buffer.alloc(16) }],
  [CKM.DES3_CBC, { type: CKM.DES3_CBC, parameter: Buffer.alloc(8) }],
]);

/** The answer of the key that comes furthest: another type of wrapping key is refused before the key is looked at. */
function ask(
  { cryptoki, session, wrapping, key }: { cryptoki: Cryptoki; session: bigint; wrapping: bigint[]; key: bigint },
  number: number,
): string {
  const by = PARAMETERS.get(number) ?? mechanism(number);
  const given = wrapping.map((under) => {
    try {
      cryptoki.wrapKey(session, by, under, key);
      return WRAPPED;
    } catch (thrown) {
      return answerOf(thrown);
    }
  });
  const isOther = (answer: string): boolean => answer.startsWith('CKR_WRAPPING_KEY_');
  return given.find((answer) => answer === WRAPPED) ?? given.find((answer) => !isOther(answer)) ?? given[0]!;
}

const offered = (): number[] =>
  Array.from({ length: NUMBERS }, (_, number) => number).filter((number) =>
    [...answers.values()].some((of) => of.get(number) !== NOT_OFFERED),
  );
const nameOf = (number: number): string =>
  Object.entries({ ...CKM, AES_KEY_WRAP }).find(([, value]) => value === number)?.[0] ?? `0x${number.toString(16)}`;

function pageWith(page: string): string {
  const numbers = offered();
  const rows = REFUSED.map((kind) => [
    kind,
    ...numbers.map((number) => answers.get(kind)!.get(number)!.replace('CKR_', '').toLowerCase().replaceAll('_', ' ')),
  ]);
  const head = ['private key', ...numbers.map((number) => `\`${nameOf(number)}\``)];
  return pageBetween(page, BEGIN, `${tableOf(head, rows)}\n`);
}

describe('private keys that SoftHSM gives to nobody', () => {
  it('are wrapped by no mechanism of the token', () => {
    const wrappedBy = (kind: string): number[] =>
      offered().filter((number) => answers.get(kind)!.get(number) === WRAPPED);
    expect(REFUSED.map((kind) => [kind, wrappedBy(kind)])).toEqual(REFUSED.map((kind) => [kind, []]));
    // AES-CBC takes it if its encoding happens to be whole blocks.
    expect(wrappedBy(GIVEN)).toEqual(expect.arrayContaining([AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD]));
  });

  it('are refused with the answers that the page of the device gives', () => {
    const page = readFileSync(PAGE, 'utf8');
    expect(page).toBe(pageWith(page));
  });
});
