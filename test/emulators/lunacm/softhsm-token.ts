/**
 * The files of a SoftHSM token, as far as an emulated device needs them. A twin of a token has its token key, under a
 * serial number, a label and a PIN of its own. Tokens with one token key can use each other's object files, as partitions
 * of one cloning domain can use each other's objects.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

const CLASS = 0x0n;
const PRIVATE = 0x2n;
const LABEL = 0x3n;
const TOKEN_LABEL = 0x80005349n;
const TOKEN_SERIAL = 0x8000534an;
const OFFICER_KEY = 0x8000534cn;
const USER_KEY = 0x8000534dn;

const LABEL_BYTES = 32;
const TOKEN_FILE = 'token.object';
/** Shows that a key was decrypted under the right PIN. */
const MAGIC = Buffer.from('RJR');

interface Value {
  readonly bytes: Buffer;
  readonly at: number;
}

/** Attributes of a file by their number: booleans, numbers and bytes. */
function attributesIn(file: Buffer): Map<bigint, Value> {
  const found = new Map<bigint, Value>();
  const HEADER = 8;
  for (let at = HEADER; at + 16 <= file.length; ) {
    const type = file.readBigUInt64BE(at);
    const form = Number(file.readBigUInt64BE(at + 8));
    at += 16;
    const isCounted = form >= 3;
    const length = form === 1 ? 1 : form === 2 ? 8 : Number(file.readBigUInt64BE(at)) * (form === 5 ? 8 : 1);
    if (isCounted) at += 8;
    found.set(type, { bytes: file.subarray(at, at + length), at });
    at += length;
  }
  return found;
}

function underPin(pin: string, salt: Buffer): Buffer {
  const digest = (...parts: (Buffer | string)[]): Buffer =>
    parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
  let key = digest(salt, pin);
  for (let left = 1_500 + salt.at(-1)! - 1; left > 0; left -= 1) key = digest(key);
  return key;
}

function decrypted(bytes: Buffer, key: Buffer): Buffer {
  const cipher = createDecipheriv('aes-256-cbc', key, bytes.subarray(0, 16));
  return Buffer.concat([cipher.update(bytes.subarray(16)), cipher.final()]);
}

function encrypted(bytes: Buffer, key: Buffer): Buffer {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  return Buffer.concat([iv, cipher.update(bytes), cipher.final()]);
}

const wrapped = (tokenKey: Buffer, pin: string): Buffer => {
  const salt = randomBytes(8);
  return Buffer.concat([salt, encrypted(Buffer.concat([MAGIC, tokenKey]), underPin(pin, salt))]);
};

/** SoftHSM calls an object by a UUID. */
const UUID_LENGTH = 36;

export interface TokenObject {
  /** The beginning of the name of its file: an object and its copies have the same one. */
  readonly origin: string;
  readonly path: string;
  readonly objectClass: number;
  /** Empty where it is encrypted and nobody has logged in. */
  readonly label: string;
  readonly bytes: number;
}

/** One token, by the folder of its files. */
export class SoftHsmToken {
  readonly #folder: string;
  #key: Buffer | undefined;

  /** @param parent the folder that `directories.tokendir` names, with one token in it */
  constructor(parent: string) {
    const [name] = readdirSync(parent);
    this.#folder = join(parent, name!);
  }

  /** @throws if the PIN is wrong */
  logIn(pin: string): void {
    this.#key = keyIn(readFileSync(join(this.#folder, TOKEN_FILE)), pin);
  }

  objects(): TokenObject[] {
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith('.object') && name !== TOKEN_FILE)
      .sort()
      .flatMap((name) => {
        const path = join(this.#folder, name);
        const file = readFileSync(path);
        const values = attributesIn(file);
        const label = values.get(LABEL)?.bytes;
        // A file that is being made has no attributes yet.
        if (label === undefined) return [];
        return {
          ...{ path, origin: name.slice(0, UUID_LENGTH), bytes: file.length },
          objectClass: Number(values.get(CLASS)!.bytes.readBigUInt64BE()),
          label: this.#shown(label, values.get(PRIVATE)?.bytes[0] !== 0),
        };
      });
  }

  #shown(label: Buffer, isPrivate: boolean): string {
    if (!isPrivate || label.length === 0) return label.toString('utf8');
    return this.#key === undefined ? '' : decrypted(label, this.#key).toString('utf8');
  }

  /** Whole or not at all. Other programs that have the token open see it from their next search on. */
  add(path: string, origin: string): void {
    // A process that has destroyed a file of this name takes a new one of that name for the old one.
    const name = `${origin}-${randomBytes(4).toString('hex')}`;
    const target = join(this.#folder, `${name}.object`);
    // SoftHSM destroys an object together with its lock, and fails without it.
    writeFileSync(join(this.#folder, `${name}.lock`), '');
    copyFileSync(path, `${target}.new`);
    renameSync(`${target}.new`, target);
    this.#changed();
  }

  clear(): void {
    for (const { path } of this.objects()) {
      rmSync(path);
      rmSync(path.replace(/\.object$/, '.lock'), { force: true });
    }
    this.#changed();
  }

  #changed(): void {
    const path = join(this.#folder, 'generation');
    const next = Buffer.alloc(8);
    next.writeBigUInt64BE((existsSync(path) ? readFileSync(path).readBigUInt64BE() : 0n) + 1n);
    writeFileSync(path, next);
  }

  /** A token with the same token key in another folder. */
  twin(
    parent: string,
    { serial, label, pin, ownPin }: { serial: string; label: string; pin: string; ownPin: string },
  ): void {
    const file = readFileSync(join(this.#folder, TOKEN_FILE));
    const tokenKey = keyIn(file, ownPin);
    const values = attributesIn(file);
    const set = (type: bigint, bytes: Buffer): void => void bytes.copy(file, values.get(type)!.at);
    set(TOKEN_LABEL, Buffer.from(label.padEnd(LABEL_BYTES)));
    set(TOKEN_SERIAL, Buffer.from(serial.padStart(16, '0')));
    set(USER_KEY, wrapped(tokenKey, pin));
    set(OFFICER_KEY, wrapped(tokenKey, randomBytes(16).toString('hex')));
    const folder = join(parent, randomUUID());
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, TOKEN_FILE), file);
    copyFileSync(join(this.#folder, 'generation'), join(folder, 'generation'));
  }
}

function keyIn(tokenFile: Buffer, pin: string): Buffer {
  const { bytes } = attributesIn(tokenFile).get(USER_KEY)!;
  const plain = decrypted(bytes.subarray(8), underPin(pin, bytes.subarray(0, 8)));
  if (!plain.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('the PIN of the token is another one');
  return plain.subarray(MAGIC.length);
}
