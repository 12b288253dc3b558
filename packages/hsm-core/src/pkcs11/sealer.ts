/**
 * Takes keys and values out of the partition, wrapped under the domain key or encrypted in the token: never in the
 * clear (I5).
 */
import { CKA, NOT_WRAPPED, returnValueOf } from '@antipode/cryptoki';
import { AntipodeError } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import type { SealedData, Sealer, WrapOutcome } from '../provider/sealer.ts';
import { encryptUnder, makeDataKey } from './data-key.ts';
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
    const wrapUnder = (key: Handle, handle: Handle): WrapOutcome => {
      try {
        return {
          handle,
          blob: new Uint8Array(
            this.#context.cryptoki.wrapKey(this.#context.session, this.#context.keyWrap, key, handle),
          ),
        };
      } catch (thrown) {
        const returnValue = returnValueOf(thrown);
        return { handle, reason: NOT_WRAPPED[returnValue] ?? 'unreadable', returnValue };
      }
    };
    const outcomes = handles.map((handle): WrapOutcome => {
      if (!this.#maySend(handle)) return { handle, reason: 'unextractable' };
      const outcome = wrapUnder(domainKey, handle);
      if ('blob' in outcome || !this.#wantsTrusted(handle)) return outcome;
      const trusted = this.#wrappingKeys.trustedOf(domainKey);
      return trusted === undefined ? { ...outcome, reason: 'wrap-with-trusted' } : wrapUnder(trusted, handle);
    });
    if (outcomes.some((outcome) => 'reason' in outcome && outcome.reason === 'unreadable')) this.#checkWraps(domainKey);
    return outcomes;
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
  }): Promise<SealedData[]> {
    return options.items.map(({ handle, aad }) => {
      const value = readValue(this.#context, handle);
      if (value === undefined)
        throw new AntipodeError('HSM_REFUSED', 'the value of a data object cannot be read', {
          details: { call: 'C_GetAttributeValue' },
        });
      return {
        ciphertext: encryptUnder(this.#context, { dataKey: options.dataKey, value, aad }),
        valueTag: tagOf(this.#context, options.domainKey, value),
      };
    });
  }

  async tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]> {
    return handles.map((handle) =>
      tagOf(this.#context, domainKey, readValue(this.#context, handle) ?? new Uint8Array()),
    );
  }

  async tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return values.map((value) => tagOf(this.#context, domainKey, value));
  }
}
