/** The folder of a run, on tmpfs where that is wanted and there: gone afterwards, however the run ends. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryBase } from '@antipode/runtime';

const TMPFS = '/dev/shm';

export class Workspace {
  readonly root: string;
  readonly #stop = (): void => this.close();

  constructor({ isOnDisk }: { isOnDisk: boolean }) {
    const base = !isOnDisk && existsSync(TMPFS) ? TMPFS : temporaryBase();
    this.root = mkdtempSync(join(base, 'antipode-kill-'));
    process.once('exit', this.#stop);
  }

  folder(name: string): string {
    const folder = join(this.root, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  close(): void {
    process.off('exit', this.#stop);
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Makes one folder the same as another. */
export function replaceFolder(target: string, source: string): void {
  rmSync(target, { recursive: true, force: true, maxRetries: 5 });
  cpSync(source, target, { recursive: true });
}
