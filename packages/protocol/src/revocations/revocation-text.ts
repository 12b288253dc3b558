/** A list of revoked certificates in sentences, for the people who sign it. */
import type { Revocation, RevocationList } from './revocation-list.ts';

/** The certificates that one entry refuses, without the reason. */
export function revokedText({ kind, name, subject, issuedBefore }: Revocation): string {
  const of = name === '' ? '' : ` of ${name}`;
  switch (kind) {
    case 'certificate':
      return `the certificate ${subject.slice(0, 16)}${of}`;
    case 'identity':
      return `every certificate of ${name} that was issued before ${issuedBefore}, and its renewals`;
    case 'issuer':
      return `every certificate that issuer ${name || subject.slice(-16)} has signed`;
  }
}

/** One line for each fact. It leaves nothing out that is signed, but the format. */
export function revocationListText(list: RevocationList): string[] {
  const { trustDomain, version, previous, made, madeBy, entries } = list;
  return [
    `Version ${version} of the list of revoked certificates of ${trustDomain}. It takes the place of every earlier version.`,
    ...(entries.length === 0 ? ['Nothing is revoked.'] : []),
    ...entries.map(
      (entry) =>
        `Revoked since ${entry.since}: ${revokedText(entry)}. Reason given: ${entry.reason}. It can go after ${entry.ends}.${entry.kind === 'issuer' || (entry.kind === 'certificate' && entry.subject !== '') ? ` Key or SHA-256: ${entry.subject}` : ''}`,
    ),
    `Operator ${madeBy} made it at ${made}, and does not count.`,
    previous === '' ? 'It is the first version.' : `It was made from the list ${previous}.`,
  ];
}
