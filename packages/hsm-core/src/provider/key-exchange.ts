/** How a domain key comes from one partition to another. Every handle here is a session object. */
import type { Kdf } from '../model/kdf.ts';
import type { Handle } from '../model/object.ts';

export interface KeyExchange {
  /** A fresh AES-256 domain key as a session key: sensitive, extractable only so that it can be sent once. */
  generateDomainKey(): Promise<Handle>;
  /**
   * A fresh ECDH P-256 pair, session only. The point is uncompressed (SEC 1, 2.3.3). `kdfs` are the key derivation
   * functions by which the token agrees with it, the preferred first.
   */
  generateEphemeral(): Promise<{ handle: Handle; point: Uint8Array; kdfs: readonly Kdf[] }>;
  /**
   * Derives the unextractable AES-256 exchange key from our ephemeral key and the peer's point, by a function that both
   * sides offer: none where nothing else is said.
   */
  deriveExchangeKey(options: {
    ephemeral: Handle;
    peerPoint: Uint8Array;
    use: 'wrap' | 'unwrap';
    kdf?: Kdf;
  }): Promise<Handle>;
  /**
   * Wraps the session domain key under the exchange key (RFC 5649); for a `receiver`, the public half of a receiving
   * key, under that one first (RSA-OAEP).
   */
  wrapDomainKey(options: { exchangeKey: Handle; domainKey: Handle; receiver?: Uint8Array }): Promise<Uint8Array>;
  /**
   * Unwraps the domain key into the token, hardened as docs/security.md says, tries what it keeps, and returns its
   * check tag.
   * @throws PROTECTION_UNENFORCED when it keeps less than the site has accepted; it is destroyed then
   */
  installDomainKey(options: {
    exchangeKey: Handle;
    blob: Uint8Array;
    ckaId: Uint8Array;
    /** In the token; of no other object there: Java opens no key store in which two secret keys have one. */
    label: string;
    /** The receiving key, where it was wrapped for one. */
    receiver?: Handle;
  }): Promise<{ checkTag: Uint8Array }>;
  /**
   * A domain key for a trial: made and exchanged as a real one is, with the same policy, and a session object. It leaves
   * nothing in the token. The caller ends it with {@link forget}.
   */
  lendDomainKey(): Promise<{ handle: Handle; checkTag: Uint8Array }>;
  /**
   * Takes the exchange key off a trusted key that was delivered. The rest is of use to the security officer of this
   * token alone ({@link trustKeys}).
   */
  openTrustedDelivery(options: { exchangeKey: Handle; blob: Uint8Array }): Promise<Uint8Array>;
  /** Ends session objects of an exchange. Objects that are already gone do not count as an error. */
  forget(handles: readonly Handle[]): Promise<void>;
}
