/** A token in the hands of an application that speaks PKCS#11 itself, and in those of a crash. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cryptoki, loadCryptoki } from '@antipode/cryptoki';
import { ATTRIBUTES, type AttributeName } from '@antipode/hsm-core/testing';
import { SOFTHSM_MODULE, type TestToken, USER_PIN } from './tokens.ts';

/** Logs in, in this process, for the time of `work`. */
export function onToken<T>(token: TestToken, work: (cryptoki: Cryptoki, session: bigint) => T): T {
  return withoutPin(token, (cryptoki, session) => {
    cryptoki.login(session, Buffer.from(USER_PIN));
    return work(cryptoki, session);
  });
}

/** A session without a login: anybody who can load the module has one. */
export function withoutPin<T>({ label, environment }: TestToken, work: (cryptoki: Cryptoki, session: bigint) => T): T {
  // The module reads its environment with getenv, which process.env reaches.
  const before = process.env['SOFTHSM2_CONF'];
  process.env['SOFTHSM2_CONF'] = environment.SOFTHSM2_CONF;
  const cryptoki = loadCryptoki(SOFTHSM_MODULE);
  try {
    const slot = cryptoki.slots().find((one) => cryptoki.tokenInfo(one).label === label)!;
    return work(cryptoki, cryptoki.openSession(slot));
  } finally {
    cryptoki.finalize();
    if (before === undefined) delete process.env['SOFTHSM2_CONF'];
    else process.env['SOFTHSM2_CONF'] = before;
  }
}

/**
 * Leaves every extractable key of the token half made, as a kill in C_UnwrapKey does. SoftHSM keeps an object as a file
 * of attributes, each with type, kind and value. At that moment it has written all of them except the value; `also`
 * names more missing ones. Only new processes see it.
 */
export function halveKeys({ folder }: TestToken, { also = [] }: { also?: readonly AttributeName[] } = {}): void {
  const unwritten = new Set([...VALUES, ...also.map((name) => ATTRIBUTES[name].type)]);
  for (const path of objectFiles(folder)) {
    const file = readFileSync(path);
    const attributes = attributesIn(file);
    if (!attributes.some(({ type, bytes }) => type === ATTRIBUTES.extractable.type && bytes.at(-1) !== 0)) continue;
    const kept = attributes.filter(({ type }) => !unwritten.has(type)).map(({ bytes }) => bytes);
    writeFileSync(path, Buffer.concat([file.subarray(0, 8), ...kept]));
  }
}

/**
 * Flips a bit in the middle of this attribute of every object, except of those in these files, as a failing disk would.
 * Returns how many. Only new processes see it.
 */
export function flipAttribute({ folder }: TestToken, type: number, { but }: { but: ReadonlySet<string> }): number {
  let flipped = 0;
  for (const path of objectFiles(folder)) {
    const file = readFileSync(path);
    const attributes = attributesIn(file);
    const found = but.has(path) ? undefined : attributes.find((one) => one.type === type);
    if (found === undefined || found.bytes.length <= HEAD_BYTES) continue;
    const at = HEAD_BYTES + Math.floor((found.bytes.length - HEAD_BYTES) / 2);
    // A view on the file.
    found.bytes[at] = found.bytes[at]! ^ 1;
    writeFileSync(path, file);
    flipped += 1;
  }
  return flipped;
}

/**
 * Flips a bit of the value in an object's file. SoftHSM encrypts it, and no check sum covers it: of the initial vector of
 * CBC, so that the same bit of the first block flips, and the padding stays.
 */
export function damageValue(path: string): void {
  const file = readFileSync(path);
  // A view on the file.
  const { bytes } = attributesIn(file).find(({ type }) => type === VALUE)!;
  bytes[HEAD_BYTES] = bytes[HEAD_BYTES]! ^ 0x40;
  writeFileSync(path, file);
}

const VALUE = 0x011;
/** Type, kind and length, before a string of bytes. */
const HEAD_BYTES = 24;

/** The files of all objects of a token. */
export const filesOf = ({ folder }: TestToken): ReadonlySet<string> => new Set(objectFiles(folder));

/** CKA_VALUE, the components of an RSA key, CKA_EC_PARAMS. */
const VALUES = new Set([0x011, 0x120, 0x122, 0x123, 0x124, 0x125, 0x126, 0x127, 0x128, 0x180]);

const objectFiles = (folder: string): string[] =>
  readdirSync(join(folder, 'tokens'), { recursive: true, withFileTypes: true })
    .filter(({ name }) => name.endsWith('.object') && name !== 'token.object')
    .map(({ parentPath, name }) => join(parentPath, name));

function attributesIn(file: Buffer): { type: number; bytes: Buffer }[] {
  const found: { type: number; bytes: Buffer }[] = [];
  for (let at = 8; at < file.length; ) {
    const word = (index: number): number => Number(file.readBigUInt64BE(at + index * 8));
    const kind = word(1);
    // 1 boolean (one byte), 2 unsigned long, 3 byte string with its length, 5 set of mechanisms with their number.
    const length = kind === 1 ? 17 : kind === 2 ? 24 : kind === 5 ? 24 + 8 * word(2) : 24 + word(2);
    found.push({ type: word(0), bytes: file.subarray(at, at + length) });
    at += length;
  }
  return found;
}
