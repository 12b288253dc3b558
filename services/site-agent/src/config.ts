/** The agent's configuration: one YAML file, paths relative to it, PINs and pins in files of their own. */
import { dirname, join, resolve } from 'node:path';
import {
  KDFS,
  OBJECT_CLASSES,
  type PartitionConfig,
  POINT_ENCODINGS,
  PROTECTIONS,
  VENDOR_DEFINED,
} from '@antipode/hsm-core';
import { coordinatorsFrom, isCkaId, isLabelPattern, isName, NAME_EXPECTED, revocationSchema } from '@antipode/protocol';
import { ADDRESS_EXPECTED, isAddress, loadConfig } from '@antipode/runtime';
import { z } from 'zod';
import { approvalsSchema } from './approvals/approval-rules.ts';
import { cloningOf, lunaSchema, nativeSchema, type PartitionNative, placedLuna, placedNative } from './luna-config.ts';

const address = z.string().refine(isAddress, ADDRESS_EXPECTED);
const name = z.string().refine(isName, NAME_EXPECTED);
const path = z.string().min(1, 'expected a path');

const functionPrefix = z.string().regex(/^[A-Za-z][A-Za-z0-9]{0,15}$/, 'expected the word before _GetFunctionList');

const tokenOf = {
  tokenLabel: z.string().min(1).max(32),
  /** Needed where several tokens have the label; and as a name, unique in all groups, of a token that has no number. */
  serial: z.string().min(1).max(16).optional(),
  pinFile: path,
};

/** Settings that are omitted here are those of the partition: module, environment, accepted protections. */
const identityPartition = z.strictObject({
  ...tokenOf,
  module: path.optional(),
  moduleParameters: z.string().min(1).max(4096).optional(),
  functionPrefix: functionPrefix.optional(),
  environment: z.record(z.string(), z.string()).optional(),
});

const partitionSchema = z.strictObject({
  /** Name within this site. */
  name,
  module: path,
  /** Parameters of C_Initialize, for a module that needs some: NSS finds its database by them. Never a secret. */
  moduleParameters: z.string().min(1).max(4096).optional(),
  /** Of the module's entry points, where it has others than C_GetFunctionList: `FC` is NSS in FIPS mode. */
  functionPrefix: functionPrefix.optional(),
  /** The only key derivation function of ECDH; else all that the self-test finds (docs/howto/device.md). */
  kdf: z.enum(KDFS).optional(),
  /** How the token takes points; else as the self-test finds. */
  pointEncoding: z.enum(POINT_ENCODINGS).optional(),
  /** The number by which the token wraps as RFC 5649 has it; else the standard's, or SoftHSM's. */
  keyWrapMechanism: z.number().int().min(1).max(0xffff_ffff).optional(),
  ...tokenOf,
  /** Whether `partition init` makes a key under which domain keys are received (docs/security.md). */
  receivingKey: z.boolean().optional(),
  /** Whether `partition init` makes a key under which the security officer receives trusted keys (ADR 0021). */
  officerKey: z.boolean().optional(),
  /** The token of the identity key, best one of its own: programs take "the private key of the token". */
  identityPartition: identityPartition.optional(),
  /** For the HSM worker only, such as SOFTHSM2_CONF. Never a PIN. */
  environment: z.record(z.string(), z.string()).default({}),
  /** Protections that the token does not keep, and without which it is used all the same (docs/devices). */
  acceptUnenforced: z.array(z.enum(PROTECTIONS)).optional(),
  /**
   * Numbers of vendor-defined attributes, such as usage limits. They are not replicated, so the agent reports which
   * objects have them (docs/glossary.md).
   */
  vendorAttributes: z.array(z.number().int().min(VENDOR_DEFINED).max(0xffff_ffff)).max(64).optional(),
  /** The cloner of its device, for groups whose keys move natively (docs/howto/native.md). */
  native: nativeSchema.optional(),
  /** A distributor brings domain keys to groups, and is a member of none (ADR 0025). */
  role: z.enum(['member', 'scratch', 'distributor']).default('member'),
  /** Objects that never leave this site, whatever a group's own filter says. */
  exclude: z
    .strictObject({
      ids: z.array(z.string().refine(isCkaId, 'expected a CKA_ID in hexadecimal')).default([]),
      labels: z.array(z.string().refine(isLabelPattern, 'expected a pattern with a visible character')).default([]),
      classes: z.array(z.enum(OBJECT_CLASSES)).default([]),
      ignoreCase: z.boolean().default(false),
    })
    .optional(),
});

const coordinator = z.strictObject({ id: name, address });

/** A serial number and a label, as `lunacm` lists them. */
const slotOf = {
  serial: z.string().regex(/^[A-Za-z0-9]{1,32}$/, 'expected the serial number that `slot list` of lunacm shows'),
  label: z.string().regex(/^[^"?\p{C}]{1,32}$/u, 'expected the label that `slot list` of lunacm shows'),
};

/** A Luna Backup HSM that keeps backups of one partition (ADR 0059). */
const vault = z.strictObject({
  /** Name within this site. */
  name,
  ...slotOf,
  /** The password of the security officer of the vault. */
  officerPasswordFile: path,
  /** The password that each backup gets. */
  backupPasswordFile: path,
  /** The partition that it is for: its name above, and how `lunacm` lists it. Its PIN is that of the crypto officer. */
  partition: z.strictObject({ name, ...slotOf }),
  /** An empty partition for drills. A drill clears all of it, so it must not be one of `partitions`. */
  scratch: z
    .strictObject({
      ...slotOf,
      pinFile: path,
      /** If omitted, that of the partition. */
      module: path.optional(),
      /** For the HSM worker only; that of the partition if omitted. */
      environment: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  /** Complete backups that stay at least, whatever a group's policy says. */
  keep: z.number().int().min(1).max(99).default(3),
});

const agentFields = z.strictObject({
  site: name,
  /** Where coordinator and other agents connect. */
  listen: address,
  /** How they reach it, where that differs. */
  advertise: address.optional(),
  /** All coordinators: the agent finds the one that leads. `coordinator` names a single one. */
  coordinators: z.array(coordinator).min(1).optional(),
  coordinator: coordinator.optional(),
  tls: z.strictObject({ ca: path, certificate: path, key: path }),
  dataFolder: path,
  /** Identities of partitions elsewhere that this site trusts; written by `antipode peer trust`. */
  pinsFile: path.default('pins.yaml'),
  /** How long deleted objects are kept sealed at least, whatever a group's policy says; days. */
  deletedRetentionDaysMin: z.number().positive().max(3650).default(7),
  /** How long a sealed object must have been needed by nothing before it is erased; hours. */
  eraseGraceHours: z.number().min(1).max(8760).default(24),
  /** Health endpoints; absent for none. */
  http: address.optional(),
  /** A site without an HSM. It votes in the groups that name it, and says which sites it reaches (ADR 0042). */
  witness: z.boolean().default(false),
  /** The operators who must agree to guarded actions (docs/howto/approvals.md); absent where one certificate is enough. */
  approvals: approvalsSchema.optional(),
  /** The operators who may revoke certificates (docs/howto/revocation.md); those of `approvals` if absent. */
  revocation: revocationSchema.optional(),
  /** The Luna client of this machine, where a partition clones by it or the site has a vault. */
  luna: lunaSchema.optional(),
  partitions: z
    .array(partitionSchema)
    .default([])
    .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, 'expected names that do not repeat'),
  /** Backup HSMs of this site. */
  vaults: z
    .array(vault)
    .default([])
    .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, 'expected names that do not repeat')
    .refine((list) => new Set(list.map(({ serial }) => serial)).size === list.length, 'expected each vault once'),
});

/** The cloner of a partition has the client of the machine in it. */
type WithClient<One extends { native?: unknown }> = Omit<One, 'native'> & { readonly native?: PartitionNative };

/** Partitions that were forgotten must not make a witness of a site. */
export const agentConfigSchema = agentFields
  .superRefine(({ witness, partitions, vaults }, context) => {
    const message =
      witness && partitions.length > 0
        ? 'expected no partitions at a witness: every site votes in the groups that name it as a witness'
        : !witness && partitions.length === 0
          ? 'expected at least one partition, or `witness: true` for a site without an HSM'
          : undefined;
    if (message !== undefined) context.addIssue({ code: 'custom', path: ['partitions'], message });
    for (const [at, one] of vaults.entries())
      for (const fault of vaultFaults(one, partitions))
        context.addIssue({ code: 'custom', path: ['vaults', at, ...fault.path], message: fault.message });
  })
  .superRefine(({ luna, partitions, vaults }, context) => {
    if (luna !== undefined) return;
    if (vaults.length > 0)
      context.addIssue({
        code: 'custom',
        path: ['vaults', 0],
        message: 'expected a `luna` section that names the client of this machine (docs/devices/luna.md)',
      });
    for (const [index, { native }] of partitions.entries())
      if (native?.kind === 'luna')
        context.addIssue({
          code: 'custom',
          path: ['partitions', index, 'native', 'kind'],
          message: 'expected a `luna` section that names the client of this machine (docs/howto/native.md)',
        });
  })
  .transform(({ coordinator, coordinators, partitions: listed, ...rest }, context) => {
    const found = coordinatorsFrom({ coordinator, coordinators });
    const partitions = listed.map(({ native, ...one }): WithClient<(typeof listed)[number]> => {
      if (native === undefined) return one;
      return { ...one, native: native.kind === 'luna' ? { ...native, client: rest.luna! } : native };
    });
    const vaults = rest.vaults.map((one) => ({ ...one, client: rest.luna! }));
    if ('list' in found) return { ...rest, partitions, vaults, coordinators: found.list };
    context.addIssue({ code: 'custom', path: ['coordinators'], message: found.fault });
    return z.NEVER;
  });

/** A vault next to the partitions of its site. */
function vaultFaults(
  { serial, partition, scratch }: z.output<typeof vault>,
  partitions: readonly z.output<typeof partitionSchema>[],
): { path: string[]; message: string }[] {
  const source = partitions.find((one) => one.name === partition.name);
  const members = partitions.filter(({ role }) => role === 'member').map((one) => one.name);
  const faults: { path: string[]; message: string }[] = [];
  if (source?.role !== 'member')
    faults.push({
      path: ['partition', 'name'],
      message: `expected one of the member partitions of this site: ${members.join(', ') || 'none'}`,
    });
  if (serial === partition.serial)
    faults.push({ path: ['serial'], message: 'expected the serial number of the vault, found that of the partition' });
  if (scratch === undefined) return faults;
  if (scratch.serial === partition.serial || scratch.serial === serial)
    faults.push({ path: ['scratch', 'serial'], message: 'expected a partition of its own: a drill clears all of it' });
  const [taken] = partitions.filter(
    (one) => one.tokenLabel === scratch.label && (one.serial === undefined || isSameSerial(one.serial, scratch.serial)),
  );
  if (taken !== undefined)
    faults.push({
      path: ['scratch', 'label'],
      message: `expected a partition that is not one of \`partitions\`, found ${taken.name}: a drill clears all of it`,
    });
  // Such a source is a member at another site. Empty for a moment, it would look like a partition for drills.
  const isSource = partitions.some(
    ({ native }) => native?.kind === 'luna' && native.sources.some((one) => isSameSerial(one.serial, scratch.serial)),
  );
  if (isSource)
    faults.push({
      path: ['scratch', 'serial'],
      message: 'expected a partition that no `native.sources` names: a drill clears all of it',
    });
  return faults;
}

/** Tokens fill their serial number with zeros or blanks, and `lunacm` does not. */
export const isSameSerial = (one: string, other: string): boolean => bare(one) === bare(other);
const bare = (serial: string): string =>
  serial
    .trim()
    .replace(/^0+(?=.)/, '')
    .toLowerCase();

export type AgentConfig = z.output<typeof agentConfigSchema>;
export type PartitionSettings = AgentConfig['partitions'][number];
export type VaultSettings = AgentConfig['vaults'][number];

/** How the HSM worker finds a partition and gets in. `serial` is what the journal knows, where it knows one. */
export function partitionConfig(
  settings: PartitionSettings,
  { dataFolder, serial = settings.serial }: { dataFolder: string; serial?: string | undefined },
): PartitionConfig {
  const {
    module,
    moduleParameters,
    tokenLabel,
    pinFile,
    environment,
    acceptUnenforced,
    identityPartition,
    vendorAttributes,
    functionPrefix,
    kdf,
    pointEncoding,
    keyWrapMechanism,
    native,
  } = settings;
  // One record for a device, whatever logs in: the PKCS#11 module or lunacm.
  const records = native?.kind === 'luna' ? native.client.records : undefined;
  const stateFolder = records ?? join(dataFolder, 'login');
  const own = {
    module,
    ...(moduleParameters === undefined ? {} : { moduleParameters }),
    tokenLabel,
    ...(serial === undefined ? {} : { serial }),
    pinFile,
    environment,
    stateFolder,
    ...(acceptUnenforced === undefined ? {} : { acceptUnenforced }),
    ...(vendorAttributes === undefined ? {} : { vendorAttributes }),
    ...(functionPrefix === undefined ? {} : { functionPrefix }),
    ...(kdf === undefined ? {} : { kdf }),
    ...(pointEncoding === undefined ? {} : { pointEncoding }),
    ...(keyWrapMechanism === undefined ? {} : { keyWrapMechanism }),
  };
  const cloning = native === undefined ? {} : { native: cloningOf(native, { dataFolder }) };
  if (identityPartition === undefined) return { ...own, ...cloning };
  const { serial: _ofPartition, ...shared } = own;
  const given = Object.entries(identityPartition).filter(([, value]) => value !== undefined);
  return { ...own, ...cloning, identity: { ...shared, ...Object.fromEntries(given) } };
}

function placed<One extends { module?: string | undefined; pinFile: string }>(
  one: One,
  from: (path: string) => string,
): One {
  return { ...one, pinFile: from(one.pinFile), ...(one.module === undefined ? {} : { module: from(one.module) }) };
}

/** @throws CONFIG_INVALID */
export function loadAgentConfig(file: string): AgentConfig {
  const config = loadConfig(file, agentConfigSchema);
  const from = (one: string): string => resolve(dirname(file), one);
  return {
    ...config,
    tls: { ca: from(config.tls.ca), certificate: from(config.tls.certificate), key: from(config.tls.key) },
    dataFolder: from(config.dataFolder),
    pinsFile: from(config.pinsFile),
    ...(config.luna === undefined ? {} : { luna: placedLuna(config.luna, from) }),
    partitions: config.partitions.map(({ native, ...one }) => ({
      ...one,
      ...(native === undefined ? {} : { native: placedNative(native, from) }),
      module: resolve(dirname(file), one.module),
      pinFile: from(one.pinFile),
      ...(one.identityPartition === undefined ? {} : { identityPartition: placed(one.identityPartition, from) }),
    })),
    vaults: config.vaults.map((one) => ({
      ...one,
      client: placedLuna(one.client, from),
      officerPasswordFile: from(one.officerPasswordFile),
      backupPasswordFile: from(one.backupPasswordFile),
      ...(one.scratch === undefined ? {} : { scratch: placed(one.scratch, from) }),
    })),
  };
}
