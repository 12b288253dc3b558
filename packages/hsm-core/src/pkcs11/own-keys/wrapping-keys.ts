/**
 * Which key wraps for a domain key: itself, or its trusted key where only a key that the security officer trusts may
 * (ADR 0021).
 */
import type { Attributes } from '../../model/attributes.ts';
import type { Handle } from '../../model/object.ts';

export class WrappingKeys {
  readonly #trusted = new Map<Handle, Handle>();

  /** The token was just searched for a domain key's trusted key. */
  found(domainKey: Handle, trusted: Handle | undefined): void {
    if (trusted === undefined) this.#trusted.delete(domainKey);
    else this.#trusted.set(domainKey, trusted);
  }

  trustedOf(domainKey: Handle): Handle | undefined {
    return this.#trusted.get(domainKey);
  }

  /**
   * The key under which a key with these attributes is wrapped; undefined where it needs a trusted key and there is
   * none.
   */
  for(domainKey: Handle, { wrapWithTrusted }: Attributes): Handle | undefined {
    return wrapWithTrusted === true ? this.#trusted.get(domainKey) : domainKey;
  }
}
