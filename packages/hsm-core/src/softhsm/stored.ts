/**
 * Which objects of the store the token does not show. Where there are as many files as objects there is none, and no file
 * is read.
 */
import { hex, sha256 } from '@antipode/runtime';
import { type Handle, OBJECT_ID_BYTES, type ObjectId } from '../model/object.ts';
import type { StoredUnseen } from '../provider/native-cloner.ts';
import { parseObjectFile } from './object-file.ts';
import { revealed } from './object-match.ts';
import type { OpenStore } from './softhsm-cloner.ts';
import type { TokenKey } from './token-key.ts';

/** `shown` are all objects of the token. */
export async function storedUnseen(
  { store, match, prints }: Pick<OpenStore, 'store' | 'match' | 'prints'>,
  { shown, openKey }: { shown: readonly Handle[]; openKey: () => TokenKey },
): Promise<readonly StoredUnseen[]> {
  const names = store.names();
  if (names.length <= shown.length) return [];
  const unseen: StoredUnseen[] = [];
  const byPrint = new Map<string, string[]>();
  const key = openKey();
  try {
    for (const name of names) {
      let print = prints.of(name, () => store.generationOf(name));
      if (print === undefined) {
        const file = await store.read(name);
        // Another process has destroyed it just now.
        if (file === undefined && !store.has(name)) continue;
        const stored = file && parseObjectFile(file);
        const [attributes] = revealed([stored?.attributes], key);
        if (stored === undefined || attributes === undefined) {
          unseen.push({ id: idOf(name), isSound: false, hasContent: file?.length !== 0 });
          continue;
        }
        print = match.shortPrintOfFile(attributes);
        prints.remember(name, { generation: stored.generation, print });
      }
      byPrint.set(print, [...(byPrint.get(print) ?? []), name]);
    }
  } finally {
    key.wipe();
  }
  const counts = new Map<string | undefined, number>();
  for (const handle of shown) {
    const print = match.shortPrintOf(handle);
    counts.set(print, (counts.get(print) ?? 0) + 1);
  }
  for (const [print, alike] of byPrint)
    for (const name of alike.sort().slice(counts.get(print) ?? 0))
      unseen.push({ id: idOf(name), isSound: true, hasContent: true });
  return unseen;
}

/** By its name, which SoftHSM draws and never uses again. */
const idOf = (name: string): ObjectId =>
  hex(sha256(Buffer.from(`antipode softhsm unseen object v1\0${name}`)).subarray(0, OBJECT_ID_BYTES));
