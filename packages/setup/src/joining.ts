/**
 * The folder of a site that joins by a token: key, certificate, configuration, in this order and each of them once. It
 * can be interrupted anywhere, and the same call goes on from there. Nothing that is in the folder is ever replaced.
 */
import { createPublicKey } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import {
  askToJoin,
  type CoordinatorAddress,
  certificatesIn,
  checkCertificate,
  type Identity,
  identityUri,
  type Joined,
  type JoinToken,
  requestCertificate,
  requestCertificateWith,
} from '@antipode/protocol';
import {
  AntipodeError,
  type Clock,
  hasCode,
  makeFolder,
  parseAddress,
  sha256Hex,
  writeFileDurably,
  writeFileOnce,
} from '@antipode/runtime';
import { agentConfigFile, type PartitionDraft } from './folders.ts';

const PUBLIC = 0o644;
const SECRET = 0o600;
/** A coordinator takes over within this time, or has just been started. */
const LEADER_MS_MAX = 15_000;
const AGAIN_MS = 1_000;

export const DEFAULT_AGENT_PORT = 7401;

const filesOf = (folder: string) => ({
  caFile: join(folder, 'ca.crt'),
  certificateFile: join(folder, 'tls.crt'),
  keyFile: join(folder, 'tls.key'),
  config: join(folder, 'agent.yaml'),
  /** For an authority that is offline, and what comes back from it. */
  request: join(folder, 'join.csr'),
  signed: join(folder, 'join.crt'),
});

export interface JoinPorts {
  readonly clock: Clock;
  /** Progress, for people. */
  readonly note: (text: string) => void;
}

/**
 * The certificate of the site. Returns the files that were written.
 * @throws CERTIFICATE_AWAITED if the authority has to sign: the request is in the folder. FILE_EXISTS if the folder
 *   belongs to another site, CERTIFICATE_INVALID if it has another authority. And the errors of `askToJoin`.
 */
export async function joinCertificate(
  token: JoinToken,
  { folder, clock, note }: { folder: string } & JoinPorts,
): Promise<string[]> {
  const files = filesOf(folder);
  const identity: Identity = { trustDomain: token.trustDomain, kind: 'site', name: token.site };
  if (existsSync(files.certificateFile)) {
    requireOwn(files, { identity, clock });
    return [];
  }
  requireNoOtherAuthority(files, token);
  const written: string[] = [];
  makeFolder(folder);
  if (!existsSync(files.keyFile)) {
    const { keyPem } = await requestCertificate(identity);
    if (writeFileOnce(files.keyFile, keyPem, { mode: SECRET })) written.push(files.keyFile);
  }
  const keyPem = readText(files.keyFile);
  const requestPem = await requestCertificateWith(keyPem, identity);
  const answer = signedByHand(files) ?? (await ask(token, { requestPem, clock, note }));
  const { authoritiesPem: ca, certificatePem: certificate } = answer;
  if (certificate === undefined) {
    writeFileDurably(files.caFile, ca, { mode: PUBLIC });
    writeFileDurably(files.request, requestPem, { mode: PUBLIC });
    throw new AntipodeError(
      'CERTIFICATE_AWAITED',
      `no coordinator holds an issuer, so the authority must sign ${files.request}, with the key ${keyDigest(keyPem)}`,
      {
        details: { request: files.request, expected: files.signed, key: keyDigest(keyPem) },
        hint: `Take the request to the authority: \`antipode certificate sign join.csr --authority ca --out join.crt\`. Put the answer here as ${files.signed} and run the same command again. It needs no coordinator then, and the token may have ended.`,
      },
    );
  }
  requireFor(identity, { ca, certificate, key: keyPem }, clock);
  writeFileDurably(files.caFile, ca, { mode: PUBLIC });
  if (writeFileOnce(files.certificateFile, certificate, { mode: PUBLIC }))
    written.push(files.caFile, files.certificateFile);
  for (const path of [files.request, files.signed]) rmSync(path, { force: true });
  return written;
}

/** A certificate that an administrator has laid beside the request. The authority came from a coordinator before. */
function signedByHand({ caFile, signed }: ReturnType<typeof filesOf>): Joined | undefined {
  if (!existsSync(signed) || !existsSync(caFile)) return undefined;
  return { certificatePem: readText(signed), authoritiesPem: readText(caFile) };
}

/** The folder can be that of an authority, or of a process elsewhere. Its authority is not replaced. */
function requireNoOtherAuthority({ caFile }: ReturnType<typeof filesOf>, token: JoinToken): void {
  if (!existsSync(caFile)) return;
  let known: boolean;
  try {
    known = certificatesIn(readText(caFile)).every(({ raw }) => token.authorities.includes(sha256Hex(raw)));
  } catch {
    known = false;
  }
  if (known) return;
  throw new AntipodeError('CERTIFICATE_INVALID', `${caFile} has an authority that the token does not name`, {
    details: { path: caFile },
    hint: 'Take another folder with --folder: nothing was changed here, and the token was not used. If nobody needs this file, remove it and run the same command again. The authority comes from the coordinator.',
  });
}

/** The coordinators one after the other: the one that leads answers. */
async function ask(token: JoinToken, { requestPem, clock, note }: { requestPem: string } & JoinPorts): Promise<Joined> {
  const endMs = clock.monotonicMs() + LEADER_MS_MAX;
  for (;;) {
    const failures: AntipodeError[] = [];
    for (const place of token.coordinators) {
      note(`Asking coordinator ${place.id} at ${place.join}`);
      try {
        return await askToJoin(token, { place, requestPem, clock });
      } catch (thrown) {
        const error = AntipodeError.from(thrown);
        // Another one may be reached on a way on which nobody stands between.
        const isOfThisOne = ['NOT_LEADER', 'SITE_UNREACHABLE', 'TIMED_OUT', 'PEER_REFUSED'].some(
          (code) => code === error.code,
        );
        if (!isOfThisOne) throw error;
        failures.push(error);
        note(`  ${error.message}`);
      }
    }
    const [first] = failures;
    const gravest = failures.find((error) => hasCode(error, 'PEER_REFUSED')) ?? first!;
    const mayLeadSoon = failures.some((error) => hasCode(error, 'NOT_LEADER'));
    if (!mayLeadSoon || clock.monotonicMs() >= endMs) throw gravest;
    await clock.sleep(AGAIN_MS);
  }
}

/** @throws FILE_EXISTS, CERTIFICATE_INVALID */
function requireOwn(
  files: ReturnType<typeof filesOf>,
  { identity, clock }: { identity: Identity; clock: Clock },
): void {
  const { caFile, certificateFile, keyFile } = files;
  const contents = { ca: read(caFile), certificate: read(certificateFile), key: read(keyFile) };
  const found = identityUri(checkCertificate(contents, files, clock).identity);
  const expected = identityUri(identity);
  if (found === expected) return;
  throw new AntipodeError('FILE_EXISTS', `${certificateFile} belongs to ${found}, and the token is for ${expected}`, {
    details: { path: certificateFile, found, expected },
    hint: 'Take another folder with --folder. Nothing was changed here, and the token was not used.',
  });
}

/** A coordinator could send anything. @throws CERTIFICATE_INVALID */
function requireFor(
  identity: Identity,
  { ca, certificate, key }: { ca: string; certificate: string; key: string },
  clock: Clock,
): void {
  const names = {
    caFile: 'the authority',
    certificateFile: 'the certificate that came',
    keyFile: 'the key of this machine',
  };
  const contents = { ca: Buffer.from(ca), certificate: Buffer.from(certificate), key: Buffer.from(key) };
  const found = identityUri(checkCertificate(contents, names, clock).identity);
  if (found !== identityUri(identity))
    throw new AntipodeError(
      'CERTIFICATE_INVALID',
      `the certificate that came belongs to ${found}, expected ${identityUri(identity)}; nothing was written`,
      { details: { found, expected: identityUri(identity) } },
    );
}

export interface AgentDraft {
  readonly site: string;
  readonly listen: string;
  readonly advertise?: string | undefined;
  readonly coordinators: readonly CoordinatorAddress[];
  /** None for a witness. */
  readonly partitions: readonly PartitionDraft[];
}

export const agentConfigPath = (folder: string): string => filesOf(folder).config;

/** Writes agent.yaml, if there is none. Whether it did. */
export function joinConfig(folder: string, draft: AgentDraft): boolean {
  const { text, mode } = agentConfigFile(draft);
  return writeFileOnce(filesOf(folder).config, text, { mode });
}

/** The address of this machine from which a coordinator is reached. Sends nothing. */
export async function addressTowards(coordinator: string): Promise<string> {
  const { host, port } = parseAddress(coordinator) ?? { host: '', port: 0 };
  try {
    const { address, family } = await lookup(host);
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.connect(port, address, resolve);
      });
      return socket.address().address;
    } finally {
      socket.close();
    }
  } catch (cause) {
    throw new AntipodeError('USAGE', `cannot tell from which address this machine reaches ${coordinator}`, {
      details: { field: 'listen' },
      cause,
      hint: 'Name the address at which coordinators and other agents reach this machine: `--listen HOST:7401`.',
    });
  }
}

export const defaultListen = (address: string): string =>
  `${isIPv6(address) ? `[${address}]` : address}:${DEFAULT_AGENT_PORT}`;

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${path}: ${code}`, { details: { path }, cause });
  }
}

const keyDigest = (keyPem: string): string =>
  sha256Hex(createPublicKey(keyPem).export({ type: 'spki', format: 'der' }));

const readText = (path: string): string => read(path).toString('utf8');
