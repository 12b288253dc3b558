/** The prefix of every signature over evidence, so that it can stand for nothing else. */
export const EVIDENCE_PREFIX = Buffer.from('antipode evidence v1\0');
