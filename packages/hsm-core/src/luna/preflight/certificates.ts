/** The certificates by which a client and its appliances know each other (NTLS). Only public parts are read. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface CertificateFact {
  readonly file: string;
  /** The common name; empty if nobody could read it. */
  readonly name: string;
  /** Undefined if the file or the certificate could not be read. */
  readonly notAfterMs: number | undefined;
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** Every certificate of these files. A file that nobody can read, or without a certificate, is one of unknown end. */
export function certificatesIn(files: readonly string[]): CertificateFact[] {
  return files.flatMap((file): CertificateFact[] => {
    try {
      const blocks = readFileSync(file, 'utf8').match(PEM) ?? [];
      return blocks.length === 0 ? [{ file, name: '', notAfterMs: undefined }] : blocks.map((pem) => factOf(file, pem));
    } catch {
      return [{ file, name: '', notAfterMs: undefined }];
    }
  });
}

function factOf(file: string, pem: string): CertificateFact {
  const { subject, validToDate } = new X509Certificate(pem);
  const [, name = ''] = /^CN=(.*)$/m.exec(subject ?? '') ?? [];
  return { file, name, notAfterMs: validToDate.getTime() };
}
