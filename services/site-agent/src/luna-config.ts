/** The part of the agent's configuration for Luna devices: the client of this machine, and partitions that clone by it. */
import { join } from 'node:path';
import type { LunaClient, LunaCloning } from '@antipode/hsm-core/luna';
import { z } from 'zod';

const path = z.string().min(1, 'expected a path');

/** As `slot list` of lunacm prints it: a text, since it is longer than a number can be in some readers of YAML. */
const serial = z.string().regex(/^[0-9A-Za-z]{4,32}$/, 'expected a serial number, as `slot list` of lunacm shows');
const label = z
  .string()
  .min(1)
  .max(32)
  .regex(/^[^"?\r\n]*$/, 'expected a label without " and ?');

/** The Luna client of this machine (docs/devices/luna.md). */
export const lunaSchema = z.strictObject({
  lunacm: path.default('/usr/safenet/lunaclient/bin/lunacm'),
  /** The folder of Chrystoki.conf. */
  configuration: path.default('/etc'),
  /** Records of failed logins: one folder for all agents that reach the same devices. Default: in the data folder. */
  records: path.optional(),
  /** Locks of devices, shared like `records`. Default: in the data folder. */
  locks: path.optional(),
  /** `block` where the tool writes nothing until it ends, unless a terminal reads it. */
  buffering: z.enum(['line', 'block']).default('line'),
  /** `prompt` types passwords where the tool asks for them, so that they are on no command line of it. */
  passwords: z.enum(['option', 'prompt']).default('option'),
  /** With fewer attempts of a role left, none is made. */
  attemptsFloor: z.number().int().min(1).max(10).default(3),
  /** For the tool only. Never a password. */
  environment: z.record(z.string(), z.string()).default({}),
});

/** A partition that this client sees, with the password of its crypto officer. */
const seenPartition = z.strictObject({ serial, label, pinFile: path });

export const nativeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('softhsm') }),
  z.strictObject({
    kind: z.literal('luna'),
    /**
     * A name for the cloning domain, equal at every member of it. It is not the secret of the domain: no command shows an
     * identifier of one.
     */
    domain: z.string().regex(/^[\w.-]{1,64}$/, 'expected a name of letters, digits, dots, dashes or underscores'),
    /** Of this partition, where lunacm shows another one than PKCS#11. */
    serial: serial.optional(),
    label: label.optional(),
    /** Partitions of other members that this client sees. Keys are cloned from the active one, else from the first. */
    sources: z
      .array(seenPartition)
      .default([])
      .refine((list) => new Set(list.map((one) => one.serial)).size === list.length, 'expected serials that differ'),
  }),
]);

type LunaSettings = z.output<typeof lunaSchema>;
type NativeSettings = z.output<typeof nativeSchema>;

/** Native settings of a partition, with the client that they work by. */
export type PartitionNative =
  | Extract<NativeSettings, { kind: 'softhsm' }>
  | (Extract<NativeSettings, { kind: 'luna' }> & { readonly client: LunaSettings });

/** Paths as they are meant by the file that they are in. */
export const placedLuna = (luna: LunaSettings, from: (path: string) => string): LunaSettings => ({
  ...luna,
  lunacm: from(luna.lunacm),
  configuration: from(luna.configuration),
  ...(luna.records === undefined ? {} : { records: from(luna.records) }),
  ...(luna.locks === undefined ? {} : { locks: from(luna.locks) }),
});

export function placedNative(native: PartitionNative, from: (path: string) => string): PartitionNative {
  if (native.kind === 'softhsm') return native;
  return {
    ...native,
    client: placedLuna(native.client, from),
    sources: native.sources.map((one) => ({ ...one, pinFile: from(one.pinFile) })),
  };
}

/** The client of this machine, as the driver takes it. */
export function lunaClientOf(luna: LunaSettings, { dataFolder }: { dataFolder: string }): LunaClient {
  const { lunacm, configuration, buffering, passwords, attemptsFloor, environment } = luna;
  return {
    ...{ lunacm, configuration, buffering, passwords, attemptsFloor, environment },
    records: luna.records ?? join(dataFolder, 'login'),
    locks: luna.locks ?? join(dataFolder, 'luna', 'locks'),
    folder: join(dataFolder, 'luna'),
  };
}

/** The cloner of a partition, as its worker takes it. */
export function cloningOf(
  native: PartitionNative,
  { dataFolder }: { dataFolder: string },
): { readonly kind: 'softhsm' } | LunaCloning {
  if (native.kind === 'softhsm') return { kind: 'softhsm' };
  const { kind, domain, serial, label, sources, client } = native;
  return {
    ...{ kind, domain, sources, client: lunaClientOf(client, { dataFolder }) },
    ...(serial === undefined ? {} : { serial }),
    ...(label === undefined ? {} : { label }),
  };
}
