/**
 * Session keys whose value software knows, and values of session keys that protect nothing: for tags, proofs and trials.
 *
 * Most tokens take such a value by C_CreateObject, and show it as CKA_VALUE. A token in FIPS mode does neither. There
 * the value crosses under a bridge: a session key agreed with a side in software, so that it is known here too. The
 * result is the same byte for byte. The bridge gives nobody more than the PIN does: whoever has it can agree on one.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { CKA, CKK, CKO, CryptokiFailure, type Mechanism, type Template } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import { type Agreement, localKdf, SoftwareSide } from './agreement.ts';
import type { TokenSession, WrappingSession } from './token-session.ts';

/** Whether a value can cross in the clear. */
export interface Crossing {
  /** The token takes the value of a secret by C_CreateObject. */
  readonly creates: boolean;
  /** The token keeps secrets that are not sensitive, and shows their value. */
  readonly shows: boolean;
}

export interface KnownValuesContext extends TokenSession {
  readonly keyWrap: Mechanism;
  readonly agreement: Agreement;
}

/** RFC 5649, section 3. */
const KWP_IV = Buffer.from('A65959A6', 'hex');

export class KnownValues {
  readonly #context: KnownValuesContext;
  readonly #crossing: Crossing;
  #bridge: { readonly handle: Handle; readonly value: Uint8Array } | undefined;

  constructor({ cryptoki, session, keyWrap, agreement }: KnownValuesContext, crossing: Crossing) {
    this.#context = { cryptoki, session, keyWrap, agreement };
    this.#crossing = crossing;
  }

  /** Attributes of a session key with nothing to protect, whose value {@link read} gives. */
  get readable(): Template {
    return [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, !this.#crossing.shows],
      [CKA.EXTRACTABLE, true],
    ];
  }

  /** A session key with this value, and with what a CKA_WRAP_TEMPLATE wants of it. The caller destroys it. */
  make(value: Uint8Array, wanted: Template = []): Handle {
    const { cryptoki, session, keyWrap } = this.#context;
    const given = new Set(wanted.map(([type]) => type));
    const template = [...this.readable.filter(([type]) => !given.has(type)), ...wanted];
    if (this.#crossing.creates) return cryptoki.create(session, [...template, [CKA.VALUE, value]]);
    return this.#crossed((bridge) =>
      cryptoki.unwrapKey(session, keyWrap, bridge.handle, wrapped(bridge.value, value), template),
    );
  }

  /** The value of a session key that was made with {@link readable}. Undefined where the token gives none. */
  read(handle: Handle): Uint8Array | undefined {
    const { cryptoki, session, keyWrap } = this.#context;
    if (this.#crossing.shows) return cryptoki.attributes(session, handle, [CKA.VALUE])?.get(CKA.VALUE);
    return this.#crossed((bridge) =>
      unwrapped(bridge.value, cryptoki.wrapKey(session, keyWrap, bridge.handle, handle)),
    );
  }

  /** Ends the bridge. A logout ends it too: then it must be forgotten before the next value crosses. */
  forget(): void {
    const { cryptoki, session } = this.#context;
    if (this.#bridge !== undefined) cryptoki.tryCall('C_DestroyObject', session, this.#bridge.handle);
    this.#bridge = undefined;
  }

  #crossed<T>(work: (bridge: { handle: Handle; value: Uint8Array }) => T): T {
    this.#bridge ??= this.#build();
    return work(this.#bridge);
  }

  #build(): { handle: Handle; value: Uint8Array } {
    const { agreement } = this.#context;
    const side = new SoftwareSide(this.#context);
    try {
      return side.derive({ kdf: localKdf(agreement), pointEncoding: agreement.pointEncoding }, [
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.WRAP, true],
        [CKA.UNWRAP, true],
      ]);
    } finally {
      side.end();
    }
  }
}

export function wrapped(key: Uint8Array, value: Uint8Array): Uint8Array {
  const cipher = createCipheriv('id-aes256-wrap-pad', key, KWP_IV);
  return Buffer.concat([cipher.update(value), cipher.final()]);
}

function unwrapped(key: Uint8Array, blob: Uint8Array): Uint8Array {
  const cipher = createDecipheriv('id-aes256-wrap-pad', key, KWP_IV);
  return Buffer.concat([cipher.update(blob), cipher.final()]);
}

/** A session with all that was found out about the token. */
export function wrappingSession(
  { cryptoki, session }: TokenSession,
  { keyWrap, agreement, crossing }: { keyWrap: Mechanism; agreement: Agreement; crossing: Crossing },
): WrappingSession {
  const known = { cryptoki, session, keyWrap, agreement };
  return { ...known, values: new KnownValues(known, crossing) };
}

/**
 * Tried once with throw-away keys, when the partition is opened. A value that comes back changed counts as not shown.
 */
export function findCrossing(context: KnownValuesContext): Crossing {
  const { cryptoki, session, agreement } = context;
  const made: Handle[] = [];
  const works = (work: () => boolean): boolean => {
    try {
      return work();
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return false;
      throw thrown;
    }
  };
  const side = new SoftwareSide(context);
  try {
    const shows = works(() => {
      const how = { kdf: localKdf(agreement), pointEncoding: agreement.pointEncoding };
      const { handle, value } = side.derive(how, [
        [CKA.SENSITIVE, false],
        [CKA.EXTRACTABLE, true],
      ]);
      made.push(handle);
      const shown = cryptoki.attributes(session, handle, [CKA.VALUE])?.get(CKA.VALUE);
      return shown !== undefined && bytesEqual(shown, value);
    });
    const creates = works(() => {
      made.push(new KnownValues(context, { creates: true, shows }).make(randomBytes(32)));
      return true;
    });
    return { creates, shows };
  } finally {
    side.end();
    for (const handle of made) cryptoki.destroy(session, handle);
  }
}
