/**
 * The objects of partitions and backups. The interface is what the tool needs of them: records in files keep it here, and
 * a token for each emulated partition can keep it too.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface StoredObject {
  /** Valid in its container only. */
  readonly handle: number;
  readonly label: string;
  readonly type: string;
  /** 24 hexadecimal digits. */
  readonly uid: string;
  /** The same for an object and all of its copies. No device shows it: it is for the judge of a test. */
  readonly origin: string;
  readonly bytes: number;
}

/** A partition by its serial number, or a backup by that of its vault and its name. */
export type Container = string;

export const archiveOf = (vault: string, name: string): Container =>
  `archive-${vault}-${Buffer.from(name).toString('hex')}`;

export interface ObjectStore {
  list(container: Container): StoredObject[];
  make(container: Container, object: Omit<StoredObject, 'handle' | 'uid' | 'origin'>): StoredObject;
  /** Whole or not at all, whenever the process ends. */
  copy(object: StoredObject, to: Container, options: { keepsUid: boolean }): StoredObject;
  clear(container: Container): void;
  /** Called with the password of a login: some stores can read labels only then. */
  unlock?(container: Container, password: string): void;
}

export class ObjectRecords implements ObjectStore {
  readonly #folder: string;
  readonly #next = new Map<Container, number>();

  constructor(folder: string) {
    this.#folder = join(folder, 'objects');
  }

  list(container: Container): StoredObject[] {
    const folder = join(this.#folder, container);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as StoredObject)
      .sort((a, b) => a.handle - b.handle);
  }

  make(container: Container, object: Omit<StoredObject, 'handle' | 'uid' | 'origin'>): StoredObject {
    const handle = this.#nextHandle(container);
    const origin = digestOf(container, handle, object.label);
    return this.#put(container, { ...object, handle, origin, uid: origin.slice(0, 24) });
  }

  copy(object: StoredObject, to: Container, { keepsUid }: { keepsUid: boolean }): StoredObject {
    const handle = this.#nextHandle(to);
    const uid = keepsUid ? object.uid : digestOf(to, handle, object.origin).slice(0, 24);
    return this.#put(to, { ...object, handle, uid });
  }

  clear(container: Container): void {
    rmSync(join(this.#folder, container), { recursive: true, force: true });
  }

  #put(container: Container, object: StoredObject): StoredObject {
    const folder = join(this.#folder, container);
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${object.handle}.json`);
    writeFileSync(`${path}.new`, JSON.stringify(object));
    renameSync(`${path}.new`, path);
    return object;
  }

  /** Another range in each container, so that a handle never fits two by accident. */
  #nextHandle(container: Container): number {
    const first = 1_000 * (1 + (Number.parseInt(digestOf(container).slice(0, 4), 16) % 9_000));
    let handle = this.#next.get(container) ?? first;
    while (existsSync(join(this.#folder, container, `${handle}.json`))) handle += 1;
    this.#next.set(container, handle + 1);
    return handle;
  }
}

export function digestOf(...parts: (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
