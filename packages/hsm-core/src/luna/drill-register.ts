/** The objects that a drill has put into a scratch partition, until they are cleared: written down before the restore. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, sha256Hex, writeFileDurably } from '@antipode/runtime';

export class DrillRegister {
  readonly #path: string;

  constructor({ folder, serial }: { folder: string; serial: string }) {
    this.#path = join(folder, `drill-${sha256Hex(serial).slice(0, 32)}.json`);
  }

  /** Digests of the type and label of each; empty if no drill is open. @throws FILE_UNWRITABLE */
  read(): readonly string[] {
    if (!existsSync(this.#path)) return [];
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as string[];
    } catch (cause) {
      throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${this.#path}`, { details: { path: this.#path }, cause });
    }
  }

  /** @throws FILE_UNWRITABLE */
  begin(marks: readonly string[]): void {
    writeFileDurably(this.#path, `${JSON.stringify(marks)}\n`);
  }

  end(): void {
    rmSync(this.#path, { force: true });
  }
}
