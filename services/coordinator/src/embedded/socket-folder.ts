/**
 * A folder for the socket of an embedded server. Not in the data folder, since the path of a socket ends at 107 bytes and
 * data folders may lie deep; remembered there, so that the next start clears away what a killed coordinator left.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { temporaryBase, writeFileDurably } from '@antipode/runtime';

/** @throws CONFIG_INVALID */
export function makeSocketFolder({ dataFolder, server }: { dataFolder: string; server: string }): string {
  const prefix = `antipode-${server}-`;
  const former = recordedSocketFolder({ dataFolder, server });
  if (former !== undefined) rmSync(former, { recursive: true, force: true });
  // A service of the package has a private /tmp, which commands of an administrator do not see.
  const folder = mkdtempSync(join(process.env['RUNTIME_DIRECTORY'] ?? temporaryBase(), prefix));
  writeFileDurably(recordIn({ dataFolder, server }), `${folder}\n`, { mode: 0o644 });
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
