/** Four groups of digits: what two people read to each other. */
export const spokenDigest = (digest: string): string => (digest.slice(0, 16).match(/.{4}/g) ?? []).join(' ');
