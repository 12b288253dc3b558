/** Tries the needs of a process as `run` does: certificate, files, folder, addresses, clock. */
import { accessSync, constants, existsSync, readdirSync, type Stats, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { readIssuer } from '@antipode/coordinator';
import { describeCertificate, type IdentityKind, Tls, WARN_DAYS, warningsOf } from '@antipode/protocol';
import { AntipodeError, hasCode, lockFolder, parseAddress, systemClock } from '@antipode/runtime';

/** One condition to check. Its result is shown to the operator; its error says what to do. */
export type Check = readonly [name: string, work: () => unknown];

export interface TlsPaths {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

interface Process {
  readonly kind: IdentityKind;
  /** By the configuration; undefined where the certificate alone says it. */
  readonly name?: string;
  readonly tls: TlsPaths;
  /** Whose owner the process runs as. */
  readonly dataFolder?: string;
}

/** A journal and one generation of a large partition. */
const FREE_BYTES_MIN = 64 * 1024 ** 2;
/** Files are written with the clock of this machine: more than that ahead, and the clock was set back. */
const CLOCK_AHEAD_MS_MAX = 5_000;

const WITHOUT_SPACE = {
  agent: 'The agent obeys no order while it cannot write its journal.',
  coordinator: 'PostgreSQL and Redis write there, if the coordinator runs them.',
} as const;

const mebibytes = (bytes: number): number => Math.floor(bytes / 1024 ** 2);

/** Certificate and key, for whoever has them. */
export function tlsChecks(what: string, { kind, name, tls, dataFolder }: Process): Check[] {
  return [
    [
      `${what} certificate`,
      () => {
        const { identity, state } = new Tls({ caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key });
        const isExpected = identity.kind === kind && (name === undefined || identity.name === name);
        if (!isExpected)
          throw new AntipodeError(
            'CERTIFICATE_INVALID',
            `the certificate belongs to ${identity.kind} ${identity.name}, expected ${kind} ${name ?? '(any name)'}`,
            {
              details: { path: tls.certificate },
              hint: `Put the certificate of ${kind} ${name ?? '(any name)'} there, or correct the configuration. The program does not start with this one.`,
            },
          );
        const warnings = warningsOf(state, systemClock.wallMs());
        if (warnings.length > 0)
          throw new AntipodeError('CERTIFICATE_INVALID', warnings.join('; '), {
            details: { path: tls.certificate },
            hint: 'Renew it with `antipode certificate renew`, or by hand as docs/howto/certificates.md says. No restart is needed.',
          });
        const days = Math.floor((state.certificateEndsMs - systemClock.wallMs()) / 86_400_000);
        const role = identity.role === undefined ? '' : ` with role ${identity.role}`;
        return `${identity.kind} ${identity.name}${role}, ${days} days left`;
      },
    ],
    [`${what} key file`, () => checkPrivateFile(tls.key, userOf(dataFolder))],
  ];
}

/** The issuer of a coordinator that signs renewals. */
export function issuerChecks({
  issuer,
  dataFolder,
}: {
  issuer?: { readonly certificate: string; readonly key: string } | undefined;
  dataFolder: string;
}): Check[] {
  if (issuer === undefined) return [];
  return [
    [
      'issuer certificate',
      () => {
        const { certificatePem } = readIssuer(issuer);
        const { notAfter } = describeCertificate(certificatePem);
        const left = Math.floor((notAfter.getTime() - systemClock.wallMs()) / 86_400_000);
        if (left >= WARN_DAYS) return `${left} days left`;
        throw new AntipodeError('CERTIFICATE_INVALID', `the issuer ends on ${notAfter.toISOString()}`, {
          details: { path: issuer.certificate },
          hint: 'Make another issuer with `antipode init issuer`, and replace certificate and key. No restart is needed.',
        });
      },
    ],
    ['issuer key file', () => checkPrivateFile(issuer.key, userOf(dataFolder))],
  ];
}

/** The folder, the addresses and the clock of a process that runs for months. */
export function machineChecks(
  program: 'agent' | 'coordinator',
  { dataFolder, listen, http }: { dataFolder: string; listen: string; http?: string | undefined },
): Check[] {
  return [
    [`${program} data folder`, () => checkFolder(dataFolder, program)],
    [`${program} address`, () => checkAddress(listen, { program, dataFolder })],
    ...(http === undefined
      ? []
      : [[`${program} health address`, () => checkAddress(http, { program, dataFolder })] satisfies Check]),
    [`${program} clock`, () => checkClock(dataFolder)],
  ];
}

/** The user of the process: the owner of its data folder, if the folder exists. */
function userOf(dataFolder: string | undefined): number {
  const folder = dataFolder === undefined ? undefined : statSync(dataFolder, { throwIfNoEntry: false });
  return folder?.uid ?? process.geteuid?.() ?? 0;
}

function checkPrivateFile(path: string, user: number): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new AntipodeError('CERTIFICATE_INVALID', `cannot read ${path}: ENOENT`, { details: { path } });
  const mode = (stat.mode & 0o777).toString(8);
  if ((stat.mode & 0o077) !== 0)
    throw new AntipodeError('FILE_UNWRITABLE', `${path} has mode ${mode}, expected 600 or 400`, {
      details: { path, mode },
      hint: `Run \`chmod 600 ${path}\`. If other users could have read the key, issue a new certificate and key.`,
    });
  if (user !== 0 && stat.uid !== user) throw notOf(path, stat, user);
  return `mode ${mode}`;
}

function notOf(path: string, { uid }: Stats, user: number): AntipodeError {
  return new AntipodeError('FILE_UNWRITABLE', `${path} belongs to user ${uid}, but the process runs as user ${user}`, {
    details: { path, owner: uid, expected: user },
    hint: `Run \`chown ${user} ${path}\`. The process runs as the owner of the data folder.`,
  });
}

/** Without making it: `run` makes one that is not there. */
function checkFolder(path: string, program: 'agent' | 'coordinator'): string {
  const folder = statSync(path, { throwIfNoEntry: false });
  if (folder?.isDirectory() === false)
    throw new AntipodeError('FILE_UNWRITABLE', `${path} is not a folder, expected the data folder`, {
      details: { path },
    });
  let existing = path;
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new AntipodeError('FILE_UNWRITABLE', `cannot write to ${existing}`, {
      details: { path: existing },
      cause,
    });
  }
  const { bavail, bsize } = statfsSync(existing);
  if (bavail * bsize < FREE_BYTES_MIN)
    throw new AntipodeError(
      'FILE_UNWRITABLE',
      `${existing} has ${mebibytes(bavail * bsize)} MiB free, expected at least ${mebibytes(FREE_BYTES_MIN)}`,
      {
        details: { path: existing },
        hint: `Free some space. ${WITHOUT_SPACE[program]}`,
      },
    );
  if (folder === undefined) return 'does not exist yet; the first run makes it';
  if ((folder.mode & 0o022) !== 0)
    throw new AntipodeError('FILE_UNWRITABLE', `users other than its owner can write to ${path}`, {
      details: { path },
      hint: `Run \`chmod 700 ${path}\`.`,
    });
  for (const name of readdirSync(path)) {
    const file = join(path, name);
    const stat = statSync(file, { throwIfNoEntry: false });
    // The coordinator gives the folders of its servers to the users that they run as.
    if (stat?.isFile() && stat.uid !== folder.uid) throw notOf(file, stat, folder.uid);
  }
  return isRunning(path, program) ? `in use by the running ${program}` : 'ok';
}

export function isRunning(folder: string, program: 'agent' | 'coordinator'): boolean {
  if (!existsSync(join(folder, `${program}.lock`))) return false;
  try {
    void lockFolder(folder, { program }).close();
    return false;
  } catch (thrown) {
    return hasCode(thrown, 'FILE_EXISTS');
  }
}

function checkAddress(
  address: string,
  { program, dataFolder }: { program: 'agent' | 'coordinator'; dataFolder: string },
): Promise<string> {
  const { host, port } = parseAddress(address) ?? { host: '', port: -1 };
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE' && isRunning(dataFolder, program))
        resolve(`${address}, held by the running ${program}`);
      else
        reject(
          new AntipodeError('ADDRESS_UNAVAILABLE', `cannot listen on ${address}: ${cause.message}`, {
            details: { address },
            cause,
            hint: 'Find the process that uses it with `ss -ltnp`, or set another address in the configuration.',
          }),
        );
    });
    server.listen({ host, port }, () => server.close(() => resolve(address)));
  });
}

function checkClock(dataFolder: string): string {
  const now = systemClock.wallMs();
  const names = existsSync(dataFolder) ? readdirSync(dataFolder) : [];
  const written = names.map((name) => statSync(join(dataFolder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0);
  const aheadMs = Math.max(0, ...written) - now;
  if (aheadMs > CLOCK_AHEAD_MS_MAX)
    throw new AntipodeError(
      'CONFIG_INVALID',
      `the clock is at ${new Date(now).toISOString()}, but the data folder was written ${Math.round(aheadMs / 1_000)} s later`,
      {
        details: { path: dataFolder },
        hint: 'Correct the clock (chrony, systemd-timesyncd): it is wrong, or was set back. Certificates and recovery points depend on it.',
      },
    );
  return new Date(now).toISOString();
}
