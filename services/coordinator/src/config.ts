/** The coordinator's configuration: one YAML file, paths relative to it. */
import { dirname, resolve } from 'node:path';
import { isName, NAME_EXPECTED } from '@antipode/protocol';
import { ADDRESS_EXPECTED, isAddress, loadConfig } from '@antipode/runtime';
import { z } from 'zod';
import { PROFILES, type Timings } from './timings.ts';

const address = z.string().refine(isAddress, ADDRESS_EXPECTED);
const name = z.string().refine(isName, NAME_EXPECTED);
const path = z.string().min(1, 'expected a path');

const SECONDS_MAX = 300;
const hook = {
  name,
  timeoutSeconds: z.number().positive().max(SECONDS_MAX).default(10),
};
const executable = z.strictObject({
  ...hook,
  command: z.tuple([z.string().startsWith('/', 'expected an absolute path')], z.string()),
});
const web = z.strictObject({
  ...hook,
  url: z
    .url({ protocol: /^https?$/, error: 'expected https://...' })
    .refine(isPrivate, 'expected https://... (http only to this machine)'),
  /** A file with the key of the signature. */
  secretFile: path,
});
const HOOK_EXPECTED =
  'expected `name` with `command` (a list that begins with an absolute path), or `name` with `url` (https) and `secretFile`';
/** The meaning of no answer, for a hook that may refuse a move. */
const unanswered = { ifUnanswered: z.enum(['refuse', 'allow']).default('refuse') };

export const coordinatorConfigSchema = z.strictObject({
  id: name,
  /** Where agents and operators connect. */
  listen: address,
  tls: z.strictObject({ ca: path, certificate: path, key: path }),
  dataFolder: path,
  /** Signs renewals, and machines that join. Its key can make anybody: absent unless certificates are to renew themselves. */
  issuer: z
    .strictObject({ certificate: path, key: path, days: z.number().positive().max(3_650).default(90) })
    .optional(),
  /** Where machines with a token of a site get their first certificate. Absent: nothing listens. */
  join: z.strictObject({ listen: address }).optional(),
  /** Health endpoints; absent for none. */
  http: address.optional(),
  /** PostgreSQL; a supervised child where absent. `DATABASE_URL` overrides. */
  databaseUrl: z.string().startsWith('postgres', 'expected postgres://...').optional(),
  /** Redis; a supervised child where absent. `REDIS_URL` overrides. */
  redisUrl: z.string().startsWith('redis', 'expected redis://...').optional(),
  hooks: z
    .strictObject({
      roleChange: z.array(z.union([executable, web], HOOK_EXPECTED)).default([]),
      veto: z.array(z.union([executable.extend(unanswered), web.extend(unanswered)], HOOK_EXPECTED)).default([]),
    })
    .default({ roleChange: [], veto: [] })
    .refine(haveOwnNames, 'expected another name for each hook'),
  timings: z.enum(Object.keys(PROFILES) as [keyof typeof PROFILES]).default('default'),
});

export type HooksConfig = z.output<typeof coordinatorConfigSchema>['hooks'];
export type CoordinatorConfig = Omit<z.output<typeof coordinatorConfigSchema>, 'timings'> & {
  readonly timings: Timings;
};

/** By its name it is known what a hook has accepted. */
function haveOwnNames({ roleChange, veto }: Record<'roleChange' | 'veto', readonly { name: string }[]>): boolean {
  const names = [...roleChange, ...veto].map((one) => one.name);
  return new Set(names).size === names.length;
}

/** Nobody between us and the receiver reads or changes a message. */
function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}

/** @throws CONFIG_INVALID */
export function loadCoordinatorConfig(file: string): CoordinatorConfig {
  const {
    databaseUrl: configuredDatabase,
    redisUrl: configuredRedis,
    ...config
  } = loadConfig(file, coordinatorConfigSchema);
  const from = (one: string): string => resolve(dirname(file), one);
  const databaseUrl = process.env['DATABASE_URL'] || configuredDatabase;
  const redisUrl = process.env['REDIS_URL'] || configuredRedis;
  return {
    ...config,
    tls: { ca: from(config.tls.ca), certificate: from(config.tls.certificate), key: from(config.tls.key) },
    dataFolder: from(config.dataFolder),
    issuer: config.issuer && {
      ...config.issuer,
      certificate: from(config.issuer.certificate),
      key: from(config.issuer.key),
    },
    hooks: {
      roleChange: config.hooks.roleChange.map((one) => withSecretFrom(one, from)),
      veto: config.hooks.veto.map((one) => withSecretFrom(one, from)),
    },
    timings: PROFILES[config.timings],
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    ...(redisUrl === undefined ? {} : { redisUrl }),
  };
}

const withSecretFrom = <One extends { command: unknown } | { secretFile: string }>(
  one: One,
  from: (path: string) => string,
): One => ('secretFile' in one ? { ...one, secretFile: from(one.secretFile) } : one);
