/**
 * The secrets of a configuration, to be looked for in what goes into a bundle. They stay in this process. Every value of
 * the configuration that the view of it leaves out counts, and the contents of the small files that it names.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';

/** PINs, passwords and keys of signatures. Certificates and modules are larger, and not secret. */
const SECRET_FILE = /(pinFile|passwordFile|PasswordFile|secretFile|urlFile)$/;
const SECRET_BYTES_MAX = 4_096;
const VALUE = /^(pin|password|passwd|secret|passphrase|token|labels)$/i;
/** Harmless values of variables, without which no JSON would be left. */
const WORDS: ReadonlySet<string> = new Set(['true', 'false', 'null', 'yes', 'info', 'debug', 'warn', 'error']);

/** @param environment of this process: addresses of servers may be there */
export function secretsOf(
  files: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string[] {
  const servers = [environment['DATABASE_URL'], environment['REDIS_URL'], environment['PGPASSWORD']];
  return [...servers.flatMap((one) => passwordsIn(one ?? '')), ...files.flatMap(secretsIn)];
}

function secretsIn(file: string): string[] {
  const found: string[] = [];
  const folder = dirname(resolve(file));
  const look = (key: string, value: unknown): void => {
    if (Array.isArray(value)) for (const one of value) look(key, one);
    else if (typeof value === 'object' && value !== null) {
      // Variables of HSM workers: SOFTHSM2_CONF is a path, others may be anything.
      for (const [name, one] of Object.entries(value)) look(key === 'environment' ? 'secret' : name, one);
    } else if (typeof value === 'string' || typeof value === 'number') {
      const text = String(value);
      if (SECRET_FILE.test(key))
        found.push(...linesOf(resolve(folder, text)), ...(text.includes('/') ? [] : mistaken(folder, text)));
      else if (VALUE.test(key)) found.push(...(WORDS.has(text) ? [] : [text]));
      else found.push(...passwordsIn(text));
    }
  };
  try {
    look('', parseDocument(readFileSync(file, 'utf8'), { logLevel: 'silent', uniqueKeys: false }).toJS());
  } catch {
    // A file that cannot be read has no part of the bundle either: its source fails, and is named in the list.
  }
  return found;
}

/** A PIN that stands where the name of its file should. */
const mistaken = (folder: string, text: string): string[] =>
  statSync(resolve(folder, text), { throwIfNoEntry: false }) === undefined ? [text] : [];

function linesOf(path: string): string[] {
  try {
    const { size } = statSync(path);
    return size > SECRET_BYTES_MAX ? [] : readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function passwordsIn(text: string): string[] {
  if (!URL.canParse(text)) return [];
  const { password, searchParams } = new URL(text);
  const raw = decodeURIComponent(password);
  return [password, raw, ...['password', 'sslpassword'].flatMap((name) => searchParams.getAll(name))].filter(Boolean);
}
