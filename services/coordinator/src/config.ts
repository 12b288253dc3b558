/** The coordinator's configuration: one YAML file, paths relative to it. */
import { dirname, resolve } from 'node:path';
import { isName, NAME_EXPECTED } from '@antipode/protocol';
import { ADDRESS_EXPECTED, isAddress, loadConfig } from '@antipode/runtime';
import { z } from 'zod';
import { PROFILES, type Timings } from './timings.ts';

const address = z.string().refine(isAddress, ADDRESS_EXPECTED);
const name = z.string().refine(isName, NAME_EXPECTED);
const path = z.string().min(1, 'expected a path');

export const coordinatorConfigSchema = z.strictObject({
  id: name,
  /** Where agents and operators connect. */
  listen: address,
  tls: z.strictObject({ ca: path, certificate: path, key: path }),
  dataFolder: path,
  /** Health endpoints; absent for none. */
  http: address.optional(),
  /** PostgreSQL; a supervised child where absent. `DATABASE_URL` overrides. */
  databaseUrl: z.string().startsWith('postgres', 'expected postgres://...').optional(),
  /** Redis; a supervised child where absent. `REDIS_URL` overrides. */
  redisUrl: z.string().startsWith('redis', 'expected redis://...').optional(),
  timings: z.enum(Object.keys(PROFILES) as [keyof typeof PROFILES]).default('default'),
});

export type CoordinatorConfig = Omit<z.output<typeof coordinatorConfigSchema>, 'timings'> & {
  readonly timings: Timings;
};

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
    timings: PROFILES[config.timings],
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    ...(redisUrl === undefined ? {} : { redisUrl }),
  };
}
