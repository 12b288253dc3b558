/**
 * Partitions of other sites that this site trusts, by group. They are in a file that only its operators write, and
 * never come from the coordinator. The file is read for every decision, so that an enrolment needs no restart.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isName, isSerial, SERIAL_EXPECTED } from '@antipode/protocol';
import { AntipodeError, loadConfig, writeFileDurably } from '@antipode/runtime';
import { stringify } from 'yaml';
import { z } from 'zod';

const pinSchema = z.strictObject({
  identity: z.string().regex(/^[0-9a-f]{64}$/, 'expected the SHA-256 of an identity key, 64 hexadecimal digits'),
  site: z.string().refine(isName, 'expected the name of a site'),
  serial: z.string().refine(isSerial, SERIAL_EXPECTED),
  role: z.enum(['member', 'scratch', 'distributor']).default('member'),
  comment: z.string().optional(),
});
const pinsSchema = z.record(z.string(), z.array(pinSchema)).nullable();

/**
 * A partition that may hold the group's domain key, or bring it (a distributor): its identity key, its place and its
 * role. The identity key counts nowhere else: not from another site, not under another serial number
 * (docs/security.md).
 */
export type Pin = z.infer<typeof pinSchema>;
export type PinList = Readonly<Record<string, readonly Pin[]>>;

export class Pins {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** @throws CONFIG_INVALID */
  read(): PinList {
    return existsSync(this.#file) ? (loadConfig(this.#file, pinsSchema) ?? {}) : {};
  }

  of(group: string): readonly Pin[] {
    return pinsOf(this.read(), group);
  }

  /**
   * Adds partitions; those that are there already stay as they are. Returns how many are new.
   * @throws REQUEST_INVALID, ALREADY_EXISTS when an identity is pinned as another partition's
   */
  add(group: string, added: readonly Omit<Pin, 'comment'>[]): number {
    const pins = this.read();
    const known = [...pinsOf(pins, group)];
    const before = known.length;
    for (const candidate of added) {
      const parsed = pinSchema.safeParse(candidate);
      if (!parsed.success) throw invalid(parsed.error.issues[0]?.message ?? 'it is malformed');
      const pin = parsed.data;
      const same = known.find(({ identity }) => identity === pin.identity);
      if (same === undefined) known.push(pin);
      else if (same.site !== pin.site || same.serial !== pin.serial || same.role !== pin.role)
        throw new AntipodeError(
          'ALREADY_EXISTS',
          `this identity is pinned as ${same.role} ${same.serial} of site ${same.site}; correct ${this.#file} if that is wrong`,
          {
            hint: 'Compare both with `antipode partition show-identity` at that site, and remove the wrong line from the file by hand. One identity key belongs to one partition.',
            details: { group, identity: pin.identity, path: this.#file },
          },
        );
    }
    if (known.length === before) return 0;
    this.#write({ ...pins, [group]: known });
    return known.length - before;
  }

  /** Takes out the pins that are meant; all others stay as they are. Returns how many. @throws CONFIG_INVALID */
  remove(isMeant: (group: string, pin: Pin) => boolean): number {
    const before = Object.entries(this.read());
    const after = before.map(([group, pins]) => [group, pins.filter((pin) => !isMeant(group, pin))] as const);
    const count = (all: readonly (readonly [string, readonly Pin[]])[]): number =>
      all.flatMap(([, pins]) => pins).length;
    const removed = count(before) - count(after);
    if (removed > 0) this.#write(Object.fromEntries(after));
    return removed;
  }

  #write(pins: PinList): void {
    const head = existsSync(this.#file)
      ? (/^(?:#[^\n]*\n)*/.exec(readFileSync(this.#file, 'utf8'))?.[0] ?? '')
      : '# Partitions of other sites that this site trusts, by group. Written by `antipode peer trust`.\n';
    writeFileDurably(this.#file, head + stringify(pins));
  }
}

/** As operators tell it each other: `SITE=SERIAL=SHA256`, under an option that says what it is for. */
export const peerText = ({ site, serial, identity }: Pick<Pin, 'site' | 'serial' | 'identity'>): string =>
  [site, serial, identity].join('=');

/** @throws REQUEST_INVALID */
export function peerFrom(text: string, role: Pin['role']): Pin {
  const [site = '', serial = '', identity = '', ...more] = text.split('=');
  const parsed = pinSchema.safeParse({ site, serial, identity, role });
  if (parsed.success && more.length === 0) return parsed.data;
  throw invalid(parsed.error?.issues[0]?.message ?? 'it has too many parts');
}

function invalid(why: string): AntipodeError {
  return new AntipodeError(
    'REQUEST_INVALID',
    `a peer must be SITE=SERIAL=SHA256, as printed by \`antipode partition show-identity\` at its site: ${why}`,
    { details: { field: 'peer' } },
  );
}

/** A group may be named like something that every object has. */
function pinsOf(pins: PinList, group: string): readonly Pin[] {
  return Object.hasOwn(pins, group) ? (pins[group] ?? []) : [];
}
