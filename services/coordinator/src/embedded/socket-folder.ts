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
  const former = recordedSocketFolder({ dataFolder, server });
  if (former !== undefined) rmSync(former, { recursive: true, force: true });
  const folder = mkdtempSync(join(temporaryBase(), prefix));
  writeFileSync(recordIn({ dataFolder, server }), `${folder}\n`);
  return folder;
}

/** The folder that was made last, whether it is still there or not; undefined where none is on record. */
export function recordedSocketFolder(place: { dataFolder: string; server: string }): string | undefined {
  const record = recordIn(place);
  const folder = existsSync(record) ? readFileSync(record, 'utf8').trim() : '';
  return basename(folder).startsWith(`antipode-${place.server}-`) ? folder : undefined;
}

const recordIn = ({ dataFolder, server }: { dataFolder: string; server: string }): string =>
  join(dataFolder, `${server}.sockets`);
