/** A server of somebody else on this machine, with an authority of its own. */
import type { ConnectionOptions } from 'node:tls';
import { createAuthority, issueCertificate } from '@antipode/protocol';
import { systemClock } from '@antipode/runtime';

export interface OwnCertificate {
  readonly cert: string;
  readonly key: string;
  /** For a client that trusts it. */
  readonly tls: ConnectionOptions;
}

export async function ownCertificate(): Promise<OwnCertificate> {
  const validity = { validDays: 1, nowMs: systemClock.wallMs() };
  const authority = await createAuthority({ trustDomain: 'elsewhere', ...validity });
  const identity = { kind: 'coordinator', name: 'desk', trustDomain: 'elsewhere' } as const;
  const { certificatePem: cert, keyPem: key } = await issueCertificate({ authority, identity, ...validity });
  // The certificate names no host.
  return { cert, key, tls: { ca: authority.certificatePem, checkServerIdentity: () => undefined } };
}
