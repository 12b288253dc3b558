/**
 * Where a device departs from the standard, or from the others. Decided once, when a partition is opened, and handed in
 * as one value: no other file asks what kind of device it works with. Found by trying, with throw-away session objects;
 * by the name of the model only where a trial would have to persist.
 */
import {
  CKA,
  CKO,
  CryptokiFailure,
  type Mechanism,
  SHOWS_QUIRK,
  type Template,
  type TokenInfo,
} from '@antipode/cryptoki';
import type { Protection } from '../provider/provider.ts';
import type { Agreement } from './agreement.ts';
import type { Crossing } from './known-values.ts';
import type { TokenSession } from './token-session.ts';

/** Knowledge without which no key of our own can be made. */
export interface KeyQuirks {
  /** By which the token wraps as RFC 5649 has it. SoftHSM gives that the number under which NSS has another format. */
  readonly keyWrap: Mechanism;
  /** SoftHSM offers no key derivation function; AWS CloudHSM offers nothing else. */
  readonly agreement: Agreement;
  /** A token in FIPS mode takes and shows no secret in the clear. */
  readonly crossing: Crossing;
  /**
   * Protections that the token promises of a key and does not keep: NSS wraps what is not extractable, opencryptoki
   * ignores some in C_UnwrapKey. Our own keys are not given what is not kept.
   */
  readonly unenforced: readonly Protection[];
}

/** How keys have to be unwrapped. */
export interface RestoringQuirks {
  /** NSS does not take the point of a private EC key from the blob, and keeps no key without: it is in the template. */
  readonly wantsPoint: boolean;
  /** opencryptoki refuses CKA_EXTRACTABLE in C_UnwrapKey, and makes every unwrapped key extractable: it is left out. */
  readonly omitsExtractable: boolean;
  /**
   * By kind of key: whether an unwrapped one is wider than its template says, so that it is made in the session,
   * narrowed and copied. A kind that was not at hand when the partition was opened is tried with its first key.
   */
  readonly widens: ReadonlyMap<string, boolean>;
}

export interface Quirks extends KeyQuirks, RestoringQuirks {
  /**
   * The handle of a destroyed object is given to the next one. There a handle tells nothing of an object, and none is
   * remembered.
   */
  readonly reusesHandles: boolean;
  /**
   * A second key under the CKA_ID of another takes its place: NSS softokn overwrites the first without a word. There an
   * object is changed in place, and the id of another is refused.
   */
  readonly keepsOnePerId: boolean;
}

/** The standard's way. A token counts as sound until it has shown a quirk. */
export const SOUND: RestoringQuirks = { wantsPoint: false, omitsExtractable: false, widens: new Map() };

/**
 * How a token wants a key to be unwrapped that it has refused with this return value. Undefined where the answer does not
 * say. The point helps only with a key that has one.
 */
export function wantedAfter(
  returnValue: string,
  quirks: RestoringQuirks,
  { hasPoint }: { hasPoint: boolean },
): RestoringQuirks | undefined {
  const shown = SHOWS_QUIRK[returnValue];
  if (shown === 'omits-extractable' && !quirks.omitsExtractable) return { ...quirks, omitsExtractable: true };
  if (shown === 'wants-point' && hasPoint && !quirks.wantsPoint) return { ...quirks, wantsPoint: true };
  return undefined;
}

export const keepsOnePerId = ({ model }: TokenInfo): boolean => model.startsWith('NSS ');

/**
 * NSS 3.87 writes beyond its memory where it derives some 200 bytes by Diffie-Hellman, and the worker process ends. So
 * this is not tried.
 */
export const derivedBytesMax = ({ model }: TokenInfo): number | undefined =>
  model.startsWith('NSS ') ? 128 : undefined;

/** Tried once, with two session objects. */
export function reusesHandles({ cryptoki, session }: TokenSession): boolean {
  const draft: Template = [
    [CKA.CLASS, CKO.DATA],
    [CKA.TOKEN, false],
    [CKA.PRIVATE, false],
    [CKA.VALUE, Buffer.from('antipode')],
  ];
  try {
    const [first, second] = [0, 1].map(() => {
      const handle = cryptoki.create(session, draft);
      cryptoki.destroy(session, handle);
      return handle;
    });
    return first === second;
  } catch (thrown) {
    // A token that makes no such object cannot be asked: nothing is taken for granted there.
    if (!(thrown instanceof CryptokiFailure)) throw thrown;
    return true;
  }
}
