/**
 * Whom this site trusts: identities of partitions, by group, in a file that only its operators write. Read afresh for
 * every decision, so that an enrolment needs no restart. Never taken from the coordinator (design, section 4).
 */
import { existsSync, readFileSync } from 'node:fs';
import { AntipodeError, loadConfig, writeFileDurably } from '@antipode/runtime';
import { stringify } from 'yaml';
import { z } from 'zod';

const fingerprint = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'expected the SHA-256 of an identity key, 64 hexadecimal digits');
const pinsSchema = z
  .record(z.string(), z.array(z.strictObject({ identity: fingerprint, comment: z.string().optional() })))
  .nullable();

export type PinList = Readonly<
  Record<string, readonly { readonly identity: string; readonly comment?: string | undefined }[]>
>;

export class Pins {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** @throws CONFIG_INVALID */
  read(): PinList {
    return existsSync(this.#file) ? (loadConfig(this.#file, pinsSchema) ?? {}) : {};
  }

  isPinned(group: string, identitySha256: string): boolean {
    return pinsOf(this.read(), group).some(({ identity }) => identity === identitySha256);
  }

  /** Adds identities; those that are there already stay as they are. Returns how many are new. */
  add(group: string, identities: readonly string[]): number {
    for (const identity of identities) {
      if (!fingerprint.safeParse(identity).success) {
        throw new AntipodeError(
          'REQUEST_INVALID',
          'a peer identity must be 64 lower-case hexadecimal digits (see `antipode partition show-identity`)',
          { details: { field: 'peer-identity' } },
        );
      }
    }
    const pins = this.read();
    const known = pinsOf(pins, group);
    const added = [...new Set(identities)].filter((identity) => !known.some((pin) => pin.identity === identity));
    if (added.length === 0) return 0;
    const head = existsSync(this.#file)
      ? ''
      : '# Identities of partitions that this site trusts, by group. Written by `antipode partition enrol`.\n';
    const comments = existsSync(this.#file) ? (/^(?:#.*\n)*/.exec(readFileSync(this.#file, 'utf8'))?.[0] ?? '') : '';
    writeFileDurably(
      this.#file,
      head + comments + stringify({ ...pins, [group]: [...known, ...added.map((identity) => ({ identity }))] }),
    );
    return added.length;
  }
}

/** A group may be named like something that every object has. */
function pinsOf(pins: PinList, group: string): PinList[string] {
  return Object.hasOwn(pins, group) ? (pins[group] ?? []) : [];
}
