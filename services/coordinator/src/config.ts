/** The coordinator's configuration: one YAML file, paths relative to it. */
import { dirname, resolve } from 'node:path';
import { isName, NAME_EXPECTED, revocationSchema } from '@antipode/protocol';
import { ADDRESS_EXPECTED, isAddress, loadConfig } from '@antipode/runtime';
import { z } from 'zod';
import { SEVERITIES } from './notices/causes.ts';
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
    .refine(isPrivateUrl, 'expected https://... (http only to this machine)'),
  /** A file with the key of the signature. */
  secretFile: path,
});
const HOOK_EXPECTED =
  'expected `name` with `command` (a list that begins with an absolute path), or `name` with `url` (https) and `secretFile`';
/** The meaning of no answer, for a hook that may refuse a move. */
const unanswered = { ifUnanswered: z.enum(['refuse', 'allow']).default('refuse') };

const filters = {
  severities: z.array(z.enum(SEVERITIES)).min(1).default(['page', 'ticket']),
  /** Empty for all. */
  groups: z.array(name).default([]),
  /** Whether it hears that a cause is gone. */
  resolved: z.boolean().default(true),
};
const mailbox = z.string().regex(/^[^\s<>@,;"]+@[A-Za-z0-9.-]+$/, 'expected name@domain');
const mail = z.strictObject({
  ...hook,
  timeoutSeconds: z.number().positive().max(SECONDS_MAX).default(30),
  mail: z
    .strictObject({
      server: z
        .url({ protocol: /^smtps?$/, error: 'expected smtps://HOST:PORT or smtp://HOST:PORT (STARTTLS)' })
        .refine((url) => new URL(url).username === '', 'expected no login in the address: `user` and `passwordFile`'),
      from: mailbox,
      to: z.array(mailbox).min(1).max(50),
      user: z.string().min(1).optional(),
      passwordFile: path.optional(),
    })
    .refine(({ user, passwordFile }) => (user === undefined) === (passwordFile === undefined), {
      error: 'expected `user` and `passwordFile` together',
    }),
});
const RECEIVER_EXPECTED =
  'expected `name` with `mail` (server, from, to), or with `command` (a list that begins with an absolute path), or with `url` (https) and `secretFile`';
const beat = {
  ...hook,
  method: z.enum(['GET', 'POST']).default('POST'),
  everySeconds: z.number().min(1).max(86_400).default(60),
};
const HEARTBEAT_EXPECTED = 'expected `name` with `url` (https), or with `urlFile`, a file that holds the address';

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
  /** The operators who may revoke certificates (docs/howto/revocation.md). */
  revocation: revocationSchema.optional(),
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
  notifications: z
    .strictObject({
      receivers: z
        .array(z.union([executable.extend(filters), web.extend(filters), mail.extend(filters)], RECEIVER_EXPECTED))
        .default([]),
      heartbeats: z
        .array(
          z.union([z.strictObject({ ...beat, url: web.shape.url }), z.strictObject({ ...beat, urlFile: path })], {
            error: HEARTBEAT_EXPECTED,
          }),
        )
        .default([]),
      /** For all waits: 1, or less in tests and demonstrations. */
      waitFactor: z.number().positive().max(10).default(1),
    })
    .default({ receivers: [], heartbeats: [], waitFactor: 1 })
    .refine(
      ({ receivers, heartbeats }) => haveDistinctNames([...receivers, ...heartbeats]),
      'expected another name for each receiver and heartbeat',
    ),
  timings: z.enum(Object.keys(PROFILES) as [keyof typeof PROFILES]).default('default'),
});

export type HooksConfig = z.output<typeof coordinatorConfigSchema>['hooks'];
export type NotificationsConfig = z.output<typeof coordinatorConfigSchema>['notifications'];
export type CoordinatorConfig = Omit<z.output<typeof coordinatorConfigSchema>, 'timings'> & {
  readonly timings: Timings;
};

/** By its name it is known what a hook has accepted. */
function haveOwnNames({ roleChange, veto }: Record<'roleChange' | 'veto', readonly { name: string }[]>): boolean {
  return haveDistinctNames([...roleChange, ...veto]);
}

function haveDistinctNames(all: readonly { name: string }[]): boolean {
  return new Set(all.map((one) => one.name)).size === all.length;
}

/** Nobody between us and the receiver reads or changes a message. */
export function isPrivateUrl(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || isThisMachine(hostname);
}

export const isThisMachine = (hostname: string): boolean => ['localhost', '127.0.0.1', '[::1]'].includes(hostname);

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
    notifications: {
      ...config.notifications,
      receivers: config.notifications.receivers.map((one) => withPasswordFrom(withSecretFrom(one, from), from)),
      heartbeats: config.notifications.heartbeats.map((one) =>
        'urlFile' in one ? { ...one, urlFile: from(one.urlFile) } : one,
      ),
    },
    timings: PROFILES[config.timings],
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    ...(redisUrl === undefined ? {} : { redisUrl }),
  };
}

const withSecretFrom = <One extends object>(one: One, from: (path: string) => string): One =>
  'secretFile' in one ? { ...one, secretFile: from(one.secretFile as string) } : one;

const withPasswordFrom = (
  one: NotificationsConfig['receivers'][number],
  from: (path: string) => string,
): NotificationsConfig['receivers'][number] =>
  'mail' in one && one.mail.passwordFile !== undefined
    ? { ...one, mail: { ...one.mail, passwordFile: from(one.mail.passwordFile) } }
    : one;
