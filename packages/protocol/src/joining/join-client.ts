/**
 * The machine that joins. It knows the coordinator by the digest of its authority alone, and says nothing before it has
 * verified it. A first connection only looks at the certificates. The second one trusts the authority found there and no
 * other. The secret goes over the second one, after the clocks were compared.
 */
import { X509Certificate } from 'node:crypto';
import tls, { type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import {
  AntipodeError,
  type Clock,
  type ErrorCode,
  isErrorCode,
  parseAddress,
  sha256Hex,
  within,
} from '@antipode/runtime';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { certificatesIn } from '../certificates/certificate-watch.ts';
import { identityFromNames } from '../certificates/identity.ts';
import { identityRefusal, KEY_EXCHANGE } from '../certificates/tls.ts';
import { JoinGreetingSchema, JoinRequestSchema, JoinResponseSchema } from '../gen/antipode/v1/join_pb.ts';
import { Frames, frame, JOIN_ANSWER_BYTES_MAX, JOIN_PROTOCOL } from './conversation.ts';
import type { JoinPlace, JoinToken } from './join-token.ts';

/** Certificates are valid from one minute before they are signed. */
export const CLOCK_OFFSET_MS_MAX = 30_000;
const CONVERSATION_MS_MAX = 15_000;
const CHAIN_LENGTH_MAX = 10;

export interface Joined {
  /** The certificate and its chain; undefined where the coordinator holds no issuer. */
  readonly certificatePem: string | undefined;
  /** The authorities that the token names. */
  readonly authoritiesPem: string;
}

/**
 * Asks one coordinator.
 * @throws PEER_REFUSED if its certificate is not of the authority and trust domain of the token, CLOCK_WRONG,
 *   SITE_UNREACHABLE, TIMED_OUT, and what it answers: SITE_TOKEN_REFUSED, NOT_LEADER, CERTIFICATE_REQUEST_INVALID
 */
export async function askToJoin(
  token: JoinToken,
  { place, requestPem, clock }: { place: JoinPlace; requestPem: string; clock: Clock },
): Promise<Joined> {
  const what = `the answer of coordinator ${place.id} at ${place.join}`;
  return within({ clock, timeoutMs: CONVERSATION_MS_MAX, what }, async (signal) => {
    const anchor = await anchorAt(place, { token, clock, signal });
    const socket = await connect(place, {
      signal,
      ca: anchor.toString(),
      checkServerIdentity: (_host, { subjectaltname }) =>
        identityRefusal(identityFromNames(subjectaltname), { kind: 'coordinator', name: place.id }, token.trustDomain),
    });
    try {
      return await converse(socket, token, { requestPem, clock });
    } finally {
      socket.destroy();
    }
  });
}

/** Says nothing. @throws PEER_REFUSED */
async function anchorAt(
  place: JoinPlace,
  { token, clock, signal }: { token: JoinToken; clock: Clock; signal: AbortSignal },
): Promise<X509Certificate> {
  // Nobody is believed here: the certificates are only compared with the digests of the token.
  const socket = await connect(place, { signal, rejectUnauthorized: false });
  try {
    const chain = chainOf(socket.getPeerCertificate(true));
    const anchor = chain.find(({ raw }) => token.authorities.includes(sha256Hex(raw)));
    if (anchor === undefined)
      throw new AntipodeError(
        'PEER_REFUSED',
        `the server at ${place.join} shows no certificate of the authority that the token names (${token.authorities.map((one) => one.slice(0, 16)).join(', ')})`,
        {
          details: { address: place.join, found: chain.map(({ raw }) => sha256Hex(raw).slice(0, 16)).join(' ') },
          hint: 'Nothing was sent to it. Make sure that the address is that of the coordinator, and that nobody stands between: a proxy that opens TLS, or an attacker.',
        },
      );
    requireCurrent(chain[0]!, { place, clock });
    return anchor;
  } finally {
    socket.destroy();
  }
}

function chainOf(first: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let one: DetailedPeerCertificate | undefined = first; one?.raw !== undefined; one = one.issuerCertificate) {
    chain.push(new X509Certificate(one.raw));
    if (one.issuerCertificate === one || chain.length >= CHAIN_LENGTH_MAX) break;
  }
  return chain;
}

/** TLS would only say that the certificate does not count. Mostly it is the clock of a new machine. */
function requireCurrent(
  { validFromDate, validToDate }: X509Certificate,
  { place, clock }: { place: JoinPlace; clock: Clock },
): void {
  const nowMs = clock.wallMs();
  if (nowMs >= validFromDate.getTime() && nowMs <= validToDate.getTime()) return;
  throw new AntipodeError(
    'CLOCK_WRONG',
    `the certificate of coordinator ${place.id} is valid from ${validFromDate.toISOString()} to ${validToDate.toISOString()}, and the clock of this machine says ${new Date(nowMs).toISOString()}`,
    { details: { coordinator: place.id } },
  );
}

async function converse(
  socket: TLSSocket,
  token: JoinToken,
  { requestPem, clock }: { requestPem: string; clock: Clock },
): Promise<Joined> {
  const frames = new Frames(socket, { bytesMax: JOIN_ANSWER_BYTES_MAX });
  const { nowMs, coordinator } = fromBinary(JoinGreetingSchema, await frames.next());
  const offsetMs = clock.wallMs() - Number(nowMs);
  if (Math.abs(offsetMs) > CLOCK_OFFSET_MS_MAX)
    throw new AntipodeError(
      'CLOCK_WRONG',
      `the clock of this machine is ${Math.round(Math.abs(offsetMs) / 1_000)} s ${offsetMs > 0 ? 'ahead of' : 'behind'} that of coordinator ${coordinator}, expected at most ${CLOCK_OFFSET_MS_MAX / 1_000} s`,
      { details: { offsetMs, coordinator } },
    );
  const request = create(JoinRequestSchema, { tokenId: token.id, secret: token.secret, requestPem });
  socket.write(frame(toBinary(JoinRequestSchema, request)));
  const answer = fromBinary(JoinResponseSchema, await frames.next());
  if (answer.errorCode !== '') throw refusalOf(answer);
  return {
    certificatePem: answer.certificatePem === '' ? undefined : answer.certificatePem,
    authoritiesPem: namedAuthorities(answer.authoritiesPem, token),
  };
}

function refusalOf({ errorCode, errorMessage }: { errorCode: string; errorMessage: string }): AntipodeError {
  const code: ErrorCode = isErrorCode(errorCode) ? errorCode : 'SITE_UNREACHABLE';
  return new AntipodeError(code, errorMessage);
}

/** A coordinator gives nobody an authority that the operator who made the token does not know. @throws PEER_REFUSED */
function namedAuthorities(pem: string, { authorities }: JoinToken): string {
  let given: X509Certificate[];
  try {
    given = certificatesIn(pem);
  } catch (cause) {
    throw new AntipodeError('PEER_REFUSED', 'the coordinator sends authorities that cannot be read', { cause });
  }
  const strange = given.find(({ raw }) => !authorities.includes(sha256Hex(raw)));
  if (strange === undefined) return given.map((one) => one.toString()).join('');
  throw new AntipodeError(
    'PEER_REFUSED',
    `the coordinator sends an authority that the token does not name: ${sha256Hex(strange.raw).slice(0, 16)}`,
    {
      hint: 'Compare `ca.crt` of the coordinator with that of the operator who made the token. If both are right, make another token.',
    },
  );
}

function connect(
  { id, join }: JoinPlace,
  { signal, ...options }: tls.ConnectionOptions & { signal: AbortSignal },
): Promise<TLSSocket> {
  const { host, port } = parseAddress(join) ?? { host: '', port: 0 };
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host,
      port,
      minVersion: 'TLSv1.3',
      ecdhCurve: KEY_EXCHANGE,
      ALPNProtocols: [JOIN_PROTOCOL],
      // Only the identity in the certificate counts.
      servername: '',
      checkServerIdentity: () => undefined,
      ...options,
    });
    const stop = (): void => void socket.destroy(new Error('given up'));
    signal.addEventListener('abort', stop, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', stop));
    socket.once('secureConnect', () => {
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('error', (cause) => {
      if (cause instanceof AntipodeError) return reject(cause);
      reject(failed(cause, { id, join }));
    });
  });
}

/** OpenSSL names faults of a certificate in capitals. */
const CERTIFICATE_FAULT = /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|ERR_TLS_CERT)/;

function failed(cause: NodeJS.ErrnoException, { id, join }: { id: string; join: string }): AntipodeError {
  const details = { coordinator: id, address: join };
  if (CERTIFICATE_FAULT.test(cause.code ?? ''))
    return new AntipodeError('PEER_REFUSED', `the certificate of the server at ${join} does not count: ${cause.code}`, {
      details,
      cause,
      hint: 'Nothing was sent to it. Make sure that nobody stands between this machine and the coordinator.',
    });
  return new AntipodeError('SITE_UNREACHABLE', `coordinator ${id} cannot be reached at ${join}: ${cause.message}`, {
    details,
    cause,
    hint: 'Check that the coordinator runs with `join` in coordinator.yaml, and that a firewall lets this machine through to that port. Then run the same command again.',
  });
}
