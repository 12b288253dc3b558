/**
 * A folder for the socket of an embedded server. Not in the data folder, since the path of a socket ends at 107 bytes and
 * data folders may lie deep; remembered there, so that the next start clears away what a killed coordinator left.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { temporaryBase } from '@antipode/runtime';

/** @throws CONFIG_INVALID */
export function makeSocketFolder({ dataFolder, server }: { dataFolder: string; server: string }): string {
  const prefix = `antipode-${server}-`;
  const record = join(dataFolder, `${server}.sockets`);
  const former = existsSync(record) ? readFileSync(record, 'utf8').trim() : '';
  if (basename(former).startsWith(prefix)) rmSync(former, { recursive: true, force: true });
  const folder = mkdtempSync(join(temporaryBase(), prefix));
  writeFileSync(record, `${folder}\n`);
  return folder;
}
