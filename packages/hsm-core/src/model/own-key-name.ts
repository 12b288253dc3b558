/**
 * How the secret keys of ours are named in a token: by a label for people, and by an id that shows who made them.
 *
 * The journal finds them by their ids. A journal that was put back to an older copy does not know the newer ones, and
 * nothing else tells them from an application's key that cannot be captured. So half of each id is random, and the
 * other half follows from it, the label, and the id of the identity key. The id of the identity key is random, and only
 * a session with a login sees it. A program needs the PIN to forge such an id.
 */
import { createHmac } from 'node:crypto';
import { bytesEqual } from '@antipode/runtime';

export const CKA_ID_BYTES = 16;
const RANDOM_BYTES = 8;

/** A version of a group's domain key. */
export interface KeyVersion {
  readonly group: string;
  readonly version: number;
}

/** The CKA_LABEL of a domain key, one for each group and version. The code never searches by it. */
export const domainKeyLabel = ({ group, version }: KeyVersion): string => `antipode domain key ${group} ${version}`;

/** The CKA_LABEL of the trusted key of a version. */
export const trustedKeyLabel = ({ group, version }: KeyVersion): string => `antipode trusted key ${group} ${version}`;

const LABEL = /^antipode (domain|trusted) key (.+) ([1-9]\d{0,8})$/s;

/** Reads the label of an own key. A label proves nothing: see {@link isMarked}. */
export function ownKeyOf(label: string): (KeyVersion & { readonly kind: 'domain' | 'trusted' }) | undefined {
  const [, kind, group, version] = LABEL.exec(label) ?? [];
  if (kind === undefined) return undefined;
  return { kind: kind as 'domain' | 'trusted', group: group!, version: Number(version) };
}

/**
 * The CKA_ID of an own key.
 * @param options.identityId CKA_ID of the identity key
 * @param options.random {@link CKA_ID_BYTES} random bytes
 */
export function markedId({
  identityId,
  label,
  random,
}: {
  identityId: Uint8Array;
  label: string;
  random: Uint8Array;
}): Uint8Array {
  const head = random.subarray(0, RANDOM_BYTES);
  return new Uint8Array(Buffer.concat([head, markOf({ identityId, label, head })]));
}

/** Whether the partition with this identity made the id, for a key with this label. */
export const isMarked = (
  ckaId: Uint8Array,
  { identityId, label }: { identityId: Uint8Array; label: string },
): boolean =>
  ckaId.length === CKA_ID_BYTES &&
  bytesEqual(ckaId.subarray(RANDOM_BYTES), markOf({ identityId, label, head: ckaId.subarray(0, RANDOM_BYTES) }));

function markOf({ identityId, label, head }: { identityId: Uint8Array; label: string; head: Uint8Array }): Uint8Array {
  const made = createHmac('sha256', identityId).update('antipode own key v1\0').update(head).update(label).digest();
  return made.subarray(0, CKA_ID_BYTES - RANDOM_BYTES);
}
