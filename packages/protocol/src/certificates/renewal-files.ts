/**
 * The files of a renewal: the next key waits beside the key in use until its certificate is here, and then both take
 * their places. A crash between the two renames is completed at the next start. Keys never leave their folder.
 *
 * It asks nobody for a certificate (certificate-renewal.ts), and judges none but by the identity in use.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { AntipodeError, type Clock, syncFolder, writeFileDurably, writeFileOnce } from '@antipode/runtime';
import { certificatesIn, checkCertificate, readContents, type TlsFiles } from './certificate-watch.ts';
import { describeCertificate, requestCertificate, requestCertificateWith } from './certificates.ts';
import { type Identity, identityUri } from './identity.ts';

const nextOf = ({ certificateFile, keyFile }: TlsFiles) => ({
  certificate: `${certificateFile}.next`,
  key: `${keyFile}.next`,
});

/**
 * A request for the identity of the certificate in use, with the next key. The key is made once: a request that an
 * administrator has already is answered by the same certificate.
 * @throws CERTIFICATE_INVALID, FILE_UNWRITABLE
 */
export async function requestRenewal(files: TlsFiles): Promise<string> {
  const identity = identityInUse(files);
  const { key } = nextOf(files);
  if (existsSync(key)) return requestCertificateWith(readFileSync(key, 'utf8'), identity);
  const { requestPem, keyPem } = await requestCertificate(identity);
  if (writeFileOnce(key, keyPem, { mode: 0o600 })) return requestPem;
  // Somebody else, or the process itself, has made one meanwhile. A certificate of the other key would fit nothing.
  return requestCertificateWith(readFileSync(key, 'utf8'), identity);
}

/**
 * Puts the next key and its certificate into their places. A process that runs takes them over by itself. Repeating it
 * changes nothing. Returns when the certificate ends.
 * @throws CERTIFICATE_INVALID if the certificate is not for this identity and the next key, or not of the authority
 */
export function installRenewal(
  files: TlsFiles,
  { certificatePem, clock }: { certificatePem: string; clock: Clock },
): Date {
  const next = nextOf(files);
  const keyFile = isKeyOf(next.key, certificatePem) ? next.key : files.keyFile;
  const identity = identityInUse(files);
  const contents = { ...readContents({ ...files, keyFile }), certificate: Buffer.from(certificatePem) };
  const checked = checkCertificate(contents, { ...files, keyFile, certificateFile: 'the new certificate' }, clock);
  requireSame(checked.identity, identity);
  writeFileDurably(next.certificate, certificatePem, { mode: 0o644 });
  completeRenewal(files);
  return new Date(checked.certificateEndsMs);
}

/** Ends an installation that a crash has cut short. A certificate that fits neither key stays where it is. */
export function completeRenewal(files: TlsFiles): void {
  const next = nextOf(files);
  if (!existsSync(next.certificate)) return;
  const certificatePem = readFileSync(next.certificate, 'utf8');
  if (isKeyOf(next.key, certificatePem)) renameSync(next.key, files.keyFile);
  if (!isKeyOf(files.keyFile, certificatePem)) return;
  renameSync(next.certificate, files.certificateFile);
  syncFolder(dirname(files.keyFile));
  syncFolder(dirname(files.certificateFile));
}

function identityInUse({ certificateFile }: TlsFiles): Identity {
  const path = certificateFile;
  if (!existsSync(path))
    throw new AntipodeError('CERTIFICATE_INVALID', `${path} does not exist`, { details: { path } });
  const { identity } = describeCertificate(readFileSync(path, 'utf8'));
  if (identity !== undefined) return identity;
  throw new AntipodeError('CERTIFICATE_INVALID', `${path} has no identity of this system`, { details: { path } });
}

/** A renewal gives nobody another name or another role. */
function requireSame(found: Identity, expected: Identity): void {
  if (identityUri(found) === identityUri(expected)) return;
  throw new AntipodeError(
    'CERTIFICATE_INVALID',
    `the new certificate belongs to ${identityUri(found)}, expected ${identityUri(expected)}`,
  );
}

function isKeyOf(path: string, certificatePem: string): boolean {
  if (!existsSync(path)) return false;
  try {
    const [certificate] = certificatesIn(certificatePem);
    return certificate.checkPrivateKey(createPrivateKey(readFileSync(path)));
  } catch {
    return false;
  }
}

/**
 * Two thirds of the life of a certificate: the last third is for whoever must be asked.
 * @throws CERTIFICATE_INVALID where the file was overwritten with something else while the process runs
 */
export function renewalDueMs(certificatePem: string): number {
  const { validFromDate, validToDate } = readCertificate(certificatePem);
  return validFromDate.getTime() + ((validToDate.getTime() - validFromDate.getTime()) * 2) / 3;
}

function readCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'the certificate to renew cannot be read as PEM', { cause });
  }
}
