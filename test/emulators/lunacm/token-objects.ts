/** Objects of partitions that are SoftHSM tokens, so that programs can use what the emulated device has copied. */
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
import { type Container, digestOf, type ObjectStore, type StoredObject } from './objects.ts';
import { SoftHsmToken } from './softhsm-token.ts';

const TYPES: Readonly<Record<number, string>> = {
  0: 'Data',
  1: 'Certificate',
  2: 'Public Key',
  3: 'Private Key',
  4: 'Symmetric Key',
};

export const tokensFolder = (folder: string): string => join(folder, 'tokens');

/** A backup is a folder of object files, each with a record of what the device shows of it. */
export class TokenObjects implements ObjectStore {
  readonly #tokens: string;
  readonly #archives: string;
  readonly #open = new Map<Container, SoftHsmToken>();
  readonly #files = new WeakMap<StoredObject, string>();

  constructor(folder: string) {
    this.#tokens = tokensFolder(folder);
    this.#archives = join(folder, 'objects');
  }

  #token(container: Container): SoftHsmToken | undefined {
    const folder = join(this.#tokens, container, 'tokens');
    const found = this.#open.get(container) ?? (existsSync(folder) ? new SoftHsmToken(folder) : undefined);
    if (found !== undefined) this.#open.set(container, found);
    return found;
  }

  unlock(container: Container, password: string): void {
    this.#token(container)?.logIn(password);
  }

  list(container: Container): StoredObject[] {
    const token = this.#token(container);
    const found =
      token === undefined
        ? this.#archived(container)
        : token.objects().map(({ origin, path, objectClass, label, bytes }) => ({
            path,
            object: { label, type: TYPES[objectClass] ?? 'Unknown', bytes, uid: uidOf(origin), origin },
          }));
    return found
      .map(({ path, object }) => {
        const stored = { ...object, handle: Number.parseInt(digestOf(container, object.origin).slice(0, 7), 16) };
        this.#files.set(stored, path);
        return stored;
      })
      .sort((a, b) => a.handle - b.handle);
  }

  #archived(container: Container): { path: string; object: Omit<StoredObject, 'handle'> }[] {
    const folder = join(this.#archives, container);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith('.object'))
      .map((name) => {
        const path = join(folder, name);
        return { path, object: JSON.parse(readFileSync(`${path}.json`, 'utf8')) as Omit<StoredObject, 'handle'> };
      });
  }

  make(): never {
    throw new Error('keys of a token are made by programs');
  }

  copy(object: StoredObject, to: Container, { keepsUid }: { keepsUid: boolean }): StoredObject {
    const from = this.#files.get(object);
    if (from === undefined || !keepsUid)
      throw new Error('an object of a token is copied as it was listed, with its UID');
    const token = this.#token(to);
    if (token === undefined) this.#archive(object, from, to);
    else token.add(from, object.origin);
    return this.list(to).find(({ origin }) => origin === object.origin)!;
  }

  #archive({ handle: _handle, ...object }: StoredObject, from: string, to: Container): void {
    const path = join(this.#archives, to, `${object.origin}.object`);
    mkdirSync(join(this.#archives, to), { recursive: true });
    writeFileSync(`${path}.json`, JSON.stringify(object));
    copyFileSync(from, `${path}.new`);
    renameSync(`${path}.new`, path);
  }

  clear(container: Container): void {
    const token = this.#token(container);
    if (token === undefined) rmSync(join(this.#archives, container), { recursive: true, force: true });
    else token.clear();
  }
}

const uidOf = (name: string): string => digestOf(name).slice(0, 24);
