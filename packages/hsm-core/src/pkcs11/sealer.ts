/**
 * Takes keys and values out of the partition, wrapped under the domain key or encrypted in the token: never in the
 * clear (I5).
 */
import { CKA, NOT_WRAPPED, returnValueOf } from '@antipode/cryptoki';
import { AntipodeError } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import type { DataOutcome, Sealer, WrapOutcome } from '../provider/sealer.ts';
import { encryptUnder, makeDataKey } from './data-key.ts';
import { unlessRefused } from './exact/value-digests.ts';
import { checkTagOf, tagOf } from './own-keys/tags.ts';
import type { WrappingKeys } from './own-keys/wrapping-keys.ts';
import type { KeyQuirks } from './quirks.ts';
import { readValue } from './reading/value.ts';
import type { WrappingSession } from './token-session.ts';

export class Pkcs11Sealer implements Sealer {
  readonly #context: WrappingSession;
  readonly #wrappingKeys: WrappingKeys;
  /** Whether the token would give what is not extractable: then it is asked first. */
  readonly #asksExtractable: boolean;

  constructor(context: WrappingSession, { quirks, wrappingKeys }: { quirks: KeyQuirks; wrappingKeys: WrappingKeys }) {
    this.#context = context;
    this.#wrappingKeys = wrappingKeys;
    this.#asksExtractable = quirks.unenforced.includes('extractable');
  }

  async wrap(domainKey: Handle, handles: readonly Handle[]): Promise<WrapOutcome[]> {
    const outcomes = handles.map((handle): WrapOutcome => {
      try {
        return this.#wrapOne(domainKey, handle);
      } catch (thrown) {
        return { handle, reason: 'unreadable', returnValue: returnValueOf(thrown) };
      }
    });
    if (outcomes.some((outcome) => 'reason' in outcome && outcome.reason === 'unreadable')) this.#checkWraps(domainKey);
    return outcomes;
  }

  /** @throws CryptokiFailure if the token does not show the attributes that decide */
  #wrapOne(domainKey: Handle, handle: Handle): WrapOutcome {
    if (!this.#maySend(handle)) return { handle, reason: 'unextractable' };
    const outcome = this.#wrapUnder(domainKey, handle);
    if ('blob' in outcome || !this.#wantsTrusted(handle)) return outcome;
    const trusted = this.#wrappingKeys.trustedOf(domainKey);
    return trusted === undefined ? { ...outcome, reason: 'wrap-with-trusted' } : this.#wrapUnder(trusted, handle);
  }

  #wrapUnder(key: Handle, handle: Handle): WrapOutcome {
    const { cryptoki, session, keyWrap } = this.#context;
    try {
      return { handle, blob: new Uint8Array(cryptoki.wrapKey(session, keyWrap, key, handle)) };
    } catch (thrown) {
      const returnValue = returnValueOf(thrown);
      return { handle, reason: NOT_WRAPPED[returnValue] ?? 'unreadable', returnValue };
    }
  }

  #wantsTrusted(handle: Handle): boolean {
    return (
      this.#context.cryptoki
        .attributes(this.#context.session, handle, [CKA.WRAP_WITH_TRUSTED])
        ?.get(CKA.WRAP_WITH_TRUSTED)?.[0] === 1
    );
  }

  /** A key that is not extractable stays where it is, even on a token that would give it. */
  #maySend(handle: Handle): boolean {
    if (!this.#asksExtractable) return true;
    return (
      this.#context.cryptoki.attributes(this.#context.session, handle, [CKA.EXTRACTABLE])?.get(CKA.EXTRACTABLE)?.[0] !==
      0
    );
  }

  /** A refusal that does not say what it is about may be about the domain key: then it says nothing of the others. */
  #checkWraps(domainKey: Handle): void {
    try {
      checkTagOf(this.#context, domainKey);
    } catch (thrown) {
      const returnValue = returnValueOf(thrown);
      throw new AntipodeError('HSM_SESSION_VOID', `the domain key no longer wraps (${returnValue})`, {
        details: { call: 'C_WrapKey', returnValue },
        cause: thrown,
      });
    }
  }

  async generateDataKey(domainKey: Handle): Promise<{ handle: Handle; blob: Uint8Array }> {
    return makeDataKey(this.#context, domainKey);
  }

  async sealData(options: {
    domainKey: Handle;
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<DataOutcome[]> {
    const { domainKey, dataKey, items } = options;
    return items.map(({ handle, aad }): DataOutcome => {
      try {
        const value = readValue(this.#context, handle);
        if (value === undefined) return { handle, reason: 'unreadable' };
        const ciphertext = encryptUnder(this.#context, { dataKey, value, aad });
        return { handle, ciphertext, valueTag: tagOf(this.#context, domainKey, value) };
      } catch (thrown) {
        return { handle, reason: 'unreadable', returnValue: returnValueOf(thrown) };
      }
    });
  }

  async tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]> {
    return handles.map((handle) => {
      const value = unlessRefused(() => readValue(this.#context, handle));
      return tagOf(this.#context, domainKey, value ?? new Uint8Array());
    });
  }

  async tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return values.map((value) => tagOf(this.#context, domainKey, value));
  }
}
