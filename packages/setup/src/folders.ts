/** The folders that `antipode init` makes, one kind for each role. Nothing is ever overwritten. */
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  type Authority,
  type CoordinatorAddress,
  coordinatorsFrom,
  createAuthority,
  createIssuer,
  type IdentityKind,
  identityUri,
  isName,
  issueCertificate,
  type OperatorRole,
  type ReadRequest,
  readRequest,
  signRequest,
} from '@antipode/protocol';
import { AntipodeError, requireNoFile, systemClock, writeNewFile } from '@antipode/runtime';
import { stringify } from 'yaml';

const AUTHORITY_DAYS = 3_650;
/** Long enough to be renewed by hand, and short enough for an offline authority to be looked after. */
const ISSUER_DAYS = 730;
const CERTIFICATE_DAYS = 365;

/** Others may pass through, whatever the umask: where the coordinator is root, PostgreSQL below it is another user. */
const PASSABLE = 0o711;

function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: PASSABLE });
  if (first === undefined) return;
  for (let made = resolve(folder); ; made = dirname(made)) {
    chmodSync(made, PASSABLE);
    if (made === resolve(first) || made === dirname(made)) return;
  }
}

/** Writes files that do not exist yet. @throws FILE_EXISTS before anything is written */
function writeNew(folder: string, files: Readonly<Record<string, { text: string; mode: number }>>): string[] {
  const paths = Object.keys(files).map((name) => join(folder, name));
  for (const path of paths) requireNoFile(path);
  try {
    makeFolder(folder);
  } catch (cause) {
    throw new AntipodeError('FILE_UNWRITABLE', `cannot make ${folder}`, { details: { path: folder }, cause });
  }
  for (const [name, { text, mode }] of Object.entries(files)) writeNewFile(join(folder, name), text, { mode });
  return paths;
}

const PUBLIC = 0o644;
const SECRET = 0o600;

export async function makeAuthority({
  folder,
  trustDomain,
}: {
  folder: string;
  trustDomain: string;
}): Promise<string[]> {
  const authority = await createAuthority({ trustDomain, validDays: AUTHORITY_DAYS, nowMs: systemClock.wallMs() });
  return writeNew(folder, {
    'ca.crt': { text: authority.certificatePem, mode: PUBLIC },
    'ca.key': { text: authority.keyPem, mode: SECRET },
    'trust-domain': { text: `${trustDomain}\n`, mode: PUBLIC },
  });
}

/** An issuer below an authority, in a folder that serves wherever that of the authority does. */
export async function makeIssuer({
  folder,
  authority: authorityFolder,
  name,
  days = ISSUER_DAYS,
}: {
  folder: string;
  authority: string;
  name: string;
  days?: number | undefined;
}): Promise<string[]> {
  const { authority, anchorPem, trustDomain } = readAuthority(authorityFolder);
  requireName(name, 'name');
  const issuer = await createIssuer({ authority, name, validDays: days, nowMs: systemClock.wallMs() });
  return writeNew(folder, {
    'ca.crt': { text: anchorPem, mode: PUBLIC },
    'issuer.crt': { text: issuer.certificatePem, mode: PUBLIC },
    'issuer.key': { text: issuer.keyPem, mode: SECRET },
    'trust-domain': { text: `${trustDomain}\n`, mode: PUBLIC },
  });
}

function requireName(name: string, field: string): void {
  if (!isName(name))
    throw new AntipodeError('USAGE', `"${name}" must be lower-case letters, digits and dashes`, { details: { field } });
}

/** A request for a certificate that is to be signed with the authority or the issuer in a folder. */
export interface RequestToSign {
  readonly request: ReadRequest;
  readonly uri: string;
  sign(days?: number): Promise<string>;
}

/** @throws CERTIFICATE_REQUEST_INVALID, also for another trust domain */
export async function openRequest(
  requestPem: string,
  { authority: folder }: { authority: string },
): Promise<RequestToSign> {
  const { authority, trustDomain } = readAuthority(folder);
  const request = await readRequest(requestPem);
  if (request.identity.trustDomain !== trustDomain)
    throw new AntipodeError(
      'CERTIFICATE_REQUEST_INVALID',
      `the request is of trust domain ${request.identity.trustDomain}, expected ${trustDomain}`,
    );
  return {
    request,
    uri: identityUri(request.identity),
    sign: (days = CERTIFICATE_DAYS) =>
      signRequest({ authority, validDays: days, nowMs: systemClock.wallMs() }, request),
  };
}

/** Of an authority, or of an issuer below it. `anchorPem` is the authority, which everybody trusts. */
function readAuthority(folder: string): { authority: Authority; anchorPem: string; trustDomain: string } {
  const read = (name: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8');
    } catch (cause) {
      throw new AntipodeError(
        'FILE_UNWRITABLE',
        `cannot read ${join(folder, name)}; \`antipode init authority\` makes an authority`,
        { details: { path: folder }, cause },
      );
    }
  };
  const signer = existsSync(join(folder, 'issuer.key')) ? 'issuer' : 'ca';
  return {
    authority: { certificatePem: read(`${signer}.crt`), keyPem: read(`${signer}.key`) },
    anchorPem: read('ca.crt'),
    trustDomain: read('trust-domain').trim(),
  };
}

async function certificateFiles(
  authorityFolder: string,
  { kind, name, role }: { kind: IdentityKind; name: string; role?: OperatorRole | undefined },
) {
  const { authority, anchorPem, trustDomain } = readAuthority(authorityFolder);
  requireName(name, kind);
  const identity = { trustDomain, kind, name, ...(role === undefined ? {} : { role }) };
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    identity,
    validDays: CERTIFICATE_DAYS,
    nowMs: systemClock.wallMs(),
  });
  return {
    uri: identityUri(identity),
    files: {
      'ca.crt': { text: anchorPem, mode: PUBLIC },
      'tls.crt': { text: certificatePem, mode: PUBLIC },
      'tls.key': { text: keyPem, mode: SECRET },
    },
  };
}

const TLS = { ca: 'ca.crt', certificate: 'tls.crt', key: 'tls.key' };

function yaml(comment: string, value: unknown): { text: string; mode: number } {
  return { text: `# ${comment}\n${stringify(value)}`, mode: PUBLIC };
}

/** @throws USAGE if it is the folder of an authority, whose key stays offline */
function issuerFiles(folder: string): Record<string, { text: string; mode: number }> {
  if (!existsSync(join(folder, 'issuer.key')))
    throw new AntipodeError('USAGE', `${folder} has no issuer.key, expected the folder of \`antipode init issuer\``, {
      details: { field: 'issuer' },
    });
  const { authority } = readAuthority(folder);
  return {
    'issuer.crt': { text: authority.certificatePem, mode: PUBLIC },
    'issuer.key': { text: authority.keyPem, mode: SECRET },
  };
}

export async function makeCoordinatorFolder(options: {
  folder: string;
  authority: string;
  id: string;
  listen: string;
  http?: string | undefined;
  timings?: string | undefined;
  databaseUrl?: string | undefined;
  redisUrl?: string | undefined;
  /** The folder of an issuer, which is copied. */
  issuer?: string | undefined;
  /** Where machines join. */
  join?: string | undefined;
}): Promise<string[]> {
  const { folder, authority, id, listen, http, timings, databaseUrl, redisUrl, issuer, join: door } = options;
  const { files } = await certificateFiles(authority, { kind: 'coordinator', name: id });
  const config = {
    id,
    listen,
    ...(http === undefined ? {} : { http }),
    tls: TLS,
    dataFolder: 'data',
    timings: timings ?? 'default',
    ...(issuer === undefined ? {} : { issuer: { certificate: 'issuer.crt', key: 'issuer.key' } }),
    ...(door === undefined ? {} : { join: { listen: door } }),
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    ...(redisUrl === undefined ? {} : { redisUrl }),
  };
  return writeNew(folder, {
    ...files,
    ...(issuer === undefined ? {} : issuerFiles(issuer)),
    'coordinator.yaml': yaml(
      'Antipode coordinator. PostgreSQL and Redis run as its children unless databaseUrl and redisUrl name your own.',
      config,
    ),
  });
}

/** @throws USAGE */
function requireCoordinators(coordinators: readonly CoordinatorAddress[]): readonly CoordinatorAddress[] {
  const found = coordinatorsFrom({ coordinators });
  if ('list' in found && found.list.length > 0) return found.list;
  const why = 'fault' in found ? found.fault : 'expected at least one';
  throw new AntipodeError('USAGE', `the coordinators: ${why}`, { details: { field: 'coordinator' } });
}

export interface PartitionDraft {
  readonly name: string;
  readonly module: string;
  readonly moduleParameters?: string;
  readonly tokenLabel: string;
  readonly serial?: string;
  readonly pinFile: string;
  readonly role: 'member' | 'scratch' | 'distributor';
  readonly environment?: Readonly<Record<string, string>>;
  readonly officerKey?: boolean;
}

export async function makeSiteFolder(options: {
  folder: string;
  authority: string;
  site: string;
  listen: string;
  advertise?: string | undefined;
  /** All of them. */
  coordinators: readonly CoordinatorAddress[];
  /** None for a witness. */
  partitions: readonly PartitionDraft[];
}): Promise<string[]> {
  const { folder, authority, site } = options;
  const config = agentConfigFile(options);
  const { files } = await certificateFiles(authority, { kind: 'site', name: site });
  return writeNew(folder, { ...files, 'agent.yaml': config });
}

/** agent.yaml of a site, beside its certificate. @throws USAGE */
export function agentConfigFile({
  site,
  listen,
  advertise,
  coordinators,
  partitions,
}: {
  site: string;
  listen: string;
  advertise?: string | undefined;
  coordinators: readonly CoordinatorAddress[];
  /** None for a witness. */
  partitions: readonly PartitionDraft[];
}): { text: string; mode: number } {
  const config = {
    site,
    listen,
    ...(advertise === undefined ? {} : { advertise }),
    coordinators: requireCoordinators(coordinators),
    tls: TLS,
    dataFolder: 'data',
    ...(partitions.length === 0
      ? { witness: true }
      : {
          partitions: partitions.map((partition) => ({
            ...partition,
            module: resolve(partition.module),
            pinFile: resolve(partition.pinFile),
          })),
        }),
  };
  const comment =
    partitions.length === 0
      ? 'Antipode witness: a site agent without an HSM.'
      : 'Antipode site agent. Each PIN is in a file of its own, mode 0600.';
  return yaml(comment, config);
}

interface AskerFolder {
  readonly folder: string;
  readonly authority: string;
  readonly name: string;
  /** All of them. */
  readonly coordinators: readonly CoordinatorAddress[];
  /** The agent of its site, which answers while no coordinator does. */
  readonly agent?: { readonly site: string; readonly address: string } | undefined;
  /** Of an operator. Without one the certificate is as those of before there were roles. */
  readonly role?: OperatorRole | undefined;
}

const makeAskerFolder =
  (kind: 'operator' | 'application') =>
  async ({ folder, authority, name, coordinators, agent, role }: AskerFolder): Promise<string[]> => {
    const { files } = await certificateFiles(authority, { kind, name, role });
    const config = {
      coordinators: requireCoordinators(coordinators),
      ...(agent === undefined ? {} : { agent }),
      tls: TLS,
    };
    return writeNew(folder, { ...files, [`${kind}.yaml`]: yaml(`Antipode ${kind}.`, config) });
  };

export const makeOperatorFolder = makeAskerFolder('operator');

/** Its certificate may ask where groups are served, and for the status; nothing else. */
export const makeApplicationFolder: (options: Omit<AskerFolder, 'role'>) => Promise<string[]> =
  makeAskerFolder('application');
