/**
 * Renews the certificates of those who show a valid one: the same identity, a new key, signed by the issuer of this
 * coordinator. It needs no lead and no database. A coordinator without an issuer refuses.
 *
 * It gives nobody a first certificate, and nobody another name or role.
 */
import { readFileSync } from 'node:fs';
import {
  type Authority,
  type CallContext,
  type CertificateService,
  type Handlers,
  identityUri,
  issuedMs,
  readRequest,
  signRequest,
} from '@antipode/protocol';
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import type { ForgottenSites } from '../../sites/forgotten.ts';

/** An issuer as `coordinator.yaml` names it. */
export interface IssuerFiles {
  readonly certificate: string;
  readonly key: string;
  /** The life of what it signs. */
  readonly days: number;
}

/** Read for each certificate, so that another issuer needs no restart. @throws CERTIFICATE_INVALID */
export function readIssuer({ certificate, key }: Pick<IssuerFiles, 'certificate' | 'key'>): Authority {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new AntipodeError('CERTIFICATE_INVALID', `cannot read ${path} of the issuer: ${code}`, {
        details: { path },
        cause,
      });
    }
  };
  return { certificatePem: read(certificate), keyPem: read(key) };
}

/** @throws ISSUER_MISSING, CERTIFICATE_REQUEST_INVALID, CERTIFICATE_INVALID */
export async function renewedCertificate(
  requestPem: string,
  { identity, certificate = () => undefined }: Pick<CallContext, 'identity' | 'certificate'>,
  { id, issuer, clock }: { id: string; issuer: IssuerFiles | undefined; clock: Clock },
): Promise<string> {
  if (issuer === undefined)
    throw new AntipodeError('ISSUER_MISSING', `coordinator ${id} holds no issuer`, { details: { coordinator: id } });
  const request = await readRequest(requestPem);
  const [wanted, own] = [identityUri(request.identity), identityUri(identity)];
  const refuse = (why: string): never => {
    throw new AntipodeError('CERTIFICATE_REQUEST_INVALID', `${own} cannot renew its certificate: ${why}`);
  };
  if (wanted !== own) return refuse(`the request names ${wanted}`);
  const shown = certificate();
  if (shown === undefined) return refuse('the connection shows no certificate');
  const nowMs = clock.wallMs();
  // A connection outlives the handshake in which the certificate was judged.
  if (nowMs > shown.validToDate.getTime()) return refuse(`it ended on ${shown.validToDate.toISOString()}`);
  const inUse = shown.publicKey.export({ type: 'spki', format: 'der' });
  if (request.spki.equals(inUse)) return refuse('the request has the key that is in use, expected a new key');
  // A renewal does not make a line of certificates younger: what is revoked by its time of issue stays revoked.
  const line = { validDays: issuer.days, nowMs, issuedMs: issuedMs(shown) };
  return signRequest({ authority: readIssuer(issuer), ...line }, request);
}

export const renewalHandlers = (ports: {
  id: string;
  issuer: IssuerFiles | undefined;
  clock: Clock;
  log: Log;
  /** Those that the leader knows. Another coordinator renews for them too: only revocation is obeyed everywhere. */
  forgotten?: Pick<ForgottenSites, 'require'>;
}): Handlers<typeof CertificateService> => ({
  renewCertificate: async ({ requestPem }, context) => {
    if (context.identity.kind === 'site') ports.forgotten?.require(context.identity.name);
    const certificatePem = await renewedCertificate(requestPem, context, ports);
    const { identity, peer } = context;
    ports.log.info('a certificate was renewed', { identity: identityUri(identity), peer });
    return { certificatePem };
  },
});
