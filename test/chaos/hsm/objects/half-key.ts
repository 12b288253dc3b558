/** Makes one key of a token that nobody has open what a kill in C_UnwrapKey leaves of it. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { halveKeys } from '../../../support/raw-token.ts';
import type { TestToken } from '../../../support/tokens.ts';

/**
 * Of the keys that were not there before, the one that `isWanted` says. It is asked with each of them half in turn, since
 * nothing in the files tells which is which: the token has them encrypted, their names as well.
 */
export async function halveNewKey(
  tokens: string,
  { before, isWanted }: { before: string; isWanted: () => Promise<boolean> },
): Promise<void> {
  const old = new Set(objectFiles(before));
  const folder = mkdtempSync(join(dirname(tokens), 'half-'));
  try {
    const [whole, half] = [join(folder, 'whole'), join(folder, 'tokens', 'key.object')];
    mkdirSync(dirname(half));
    for (const file of objectFiles(tokens).filter((name) => !old.has(name))) {
      const path = join(tokens, file);
      copyFileSync(path, whole);
      copyFileSync(path, half);
      halveKeys({ folder } as TestToken);
      copyFileSync(half, path);
      if (await isWanted()) return;
      copyFileSync(whole, path);
    }
    throw new Error('the key that was to be half is not there');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const objectFiles = (folder: string): string[] =>
  (readdirSync(folder, { recursive: true }) as string[]).filter((name) => name.endsWith('.object'));
