/**
 * The list of revoked certificates that this process goes by. A list counts when the operators of its own configuration
 * have signed it. Its version is higher than that of the list before, and it is durable before anything is refused by it.
 * So a restart, or whoever offers an older list, brings no revoked certificate back. On a full disk it is in force all the
 * same, with a problem, until it can be written: otherwise a thief who fills a disk would stay.
 *
 * It does not fetch lists (revocation-exchange.ts), and does not cut connections: TLS and the server listen for changes.
 */
import type { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { AntipodeError, hasCode, type Log, sha256Hex, silentLog, writeFileDurably } from '@antipode/runtime';
import { issuedMs } from '../certificates/certificates.ts';
import { identityFromNames, identityUri } from '../certificates/identity.ts';
import {
  issuerKeyFrom,
  type Revocation,
  type RevocationList,
  type RevocationRules,
  revocationDigest,
  revocationFileText,
  revocationsFromFileText,
  type SignedRevocations,
  verifyRevocations,
} from './revocation-list.ts';
import { revokedText } from './revocation-text.ts';

export interface HeldRevocations {
  readonly list: RevocationList;
  readonly digest: string;
  readonly signed: SignedRevocations;
}

export interface RevocationBookOptions {
  /** The list in force is kept here. */
  readonly file: string;
  readonly trustDomain: string;
  /** Absent where the configuration names no operators: such a process takes no list. */
  readonly rules: RevocationRules | undefined;
  readonly log?: Log;
}

export class RevocationBook {
  readonly #options: RevocationBookOptions;
  readonly #log: Log;
  readonly #listeners = new Set<() => void>();
  #held: HeldRevocations | undefined;
  #judge: Judge = new Judge([]);
  #conflict = '';
  /** Why the list in force is not on disk; empty where it is. */
  #unsaved = '';

  /**
   * Reads what is on disk. Its signatures were judged when it was taken: an operator who has left since does not bring
   * a revoked certificate back.
   * @throws REVOCATION_LIST_INVALID where the file cannot be read as a list: nobody guesses who is revoked
   */
  constructor(options: RevocationBookOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.look();
  }

  get rules(): RevocationRules | undefined {
    return this.#options.rules;
  }

  get held(): HeldRevocations | undefined {
    return this.#held;
  }

  /** 0 before the first list. */
  get version(): number {
    return this.#held?.list.version ?? 0;
  }

  get entries(): readonly Revocation[] {
    return this.#held?.list.entries ?? [];
  }

  /** For people: two lists have one version, or the list in force is not durable. Empty where all is well. */
  get problem(): string {
    return [this.#conflict, this.#unsaved].filter((text) => text !== '').join('; ');
  }

  /** Called after each change, when the list is in force and durable. Returns how to end that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Takes a list if it is newer. Anybody may bring one: the signatures count. Returns whether it was new.
   * @param options.follows for a list that a person brings: it was made from the list in force here
   * @throws REVOCATION_RULES_MISSING, REVOCATION_LIST_INVALID, REVOCATION_LIST_UNSIGNED, REVOCATION_LIST_OLD
   */
  take(signed: SignedRevocations, { follows = false }: { follows?: boolean } = {}): boolean {
    const { rules, trustDomain } = this.#options;
    if (rules === undefined)
      throw new AntipodeError(
        'REVOCATION_RULES_MISSING',
        'the configuration of this process has no `revocation` section',
      );
    const { list, digest, signedBy } = verifyRevocations(signed, rules);
    if (list.trustDomain !== trustDomain)
      throw new AntipodeError(
        'REVOCATION_LIST_INVALID',
        `the list is of trust domain ${list.trustDomain}, expected ${trustDomain}`,
        { details: { trustDomain: list.trustDomain } },
      );
    if (digest === this.#held?.digest) return false;
    this.#requireNewer(list, digest);
    if (follows && list.version === this.version + 1 && list.previous !== (this.#held?.digest ?? ''))
      throw new AntipodeError(
        'REVOCATION_LIST_OLD',
        `version ${list.version} was made from another list than version ${this.version}, which is in force here`,
        { details: { version: list.version, inForce: this.version } },
      );
    this.#save({ list, digest, signed });
    this.#use({ list, digest, signed });
    this.#log.warn('a list of revoked certificates is in force', {
      version: list.version,
      entries: list.entries.length,
      digest,
      signedBy: signedBy.join(),
    });
    return true;
  }

  /** Called by every exchange: writes a list that could not be written before. `look` reports a damaged file. */
  saveAgain(): void {
    if (this.#unsaved === '') return;
    try {
      this.look();
    } catch (thrown) {
      if (!hasCode(thrown, 'REVOCATION_LIST_INVALID')) throw thrown;
    }
  }

  /**
   * Reads the file again: a command beside this process may have put a newer list there. Otherwise writes a list that could
   * not be written before.
   * @throws REVOCATION_LIST_INVALID
   */
  look(): void {
    this.#read();
    if (this.#unsaved !== '' && this.#held !== undefined) this.#save(this.#held);
  }

  #read(): void {
    const { file, trustDomain } = this.#options;
    if (!existsSync(file)) return;
    try {
      const { parsed: list, ...signed } = revocationsFromFileText(readFileSync(file, 'utf8'));
      if (list.trustDomain !== trustDomain)
        throw new AntipodeError('REVOCATION_LIST_INVALID', `it is of trust domain ${list.trustDomain}`);
      if (list.version <= this.version) return;
      this.#unsaved = '';
      this.#use({ list, digest: revocationDigest(signed.list), signed });
    } catch (thrown) {
      const { message, code } = AntipodeError.from(thrown);
      throw new AntipodeError('REVOCATION_LIST_INVALID', `${file}: ${message.replace(`[${code}] `, '')}`, {
        details: { path: file },
        cause: thrown,
      });
    }
  }

  /** The entry by which a certificate is revoked. */
  revocationOf(certificate: X509Certificate): Revocation | undefined {
    return this.#judge.of(certificate);
  }

  /** The entries that name an identity, whatever its certificate is by now. */
  namedEntries(uri: string): readonly Revocation[] {
    return this.entries.filter(({ name }) => name === uri);
  }

  /** The refusal of a certificate; undefined where it is not revoked. */
  refusalOf(certificate: X509Certificate): AntipodeError | undefined {
    const entry = this.revocationOf(certificate);
    if (entry === undefined) return undefined;
    const identity = identityFromNames(certificate.subjectAltName);
    const who = identity === undefined ? 'a certificate without an identity' : identityUri(identity);
    return new AntipodeError(
      'CERTIFICATE_REVOKED',
      `the certificate of ${who} is revoked by version ${this.version} of the list: ${revokedText(entry)}. Reason: ${entry.reason}`,
      { details: { identity: who, version: this.version, since: entry.since } },
    );
  }

  #requireNewer(list: RevocationList, digest: string): void {
    const details = { version: list.version, inForce: this.version };
    if (list.version < this.version)
      throw new AntipodeError(
        'REVOCATION_LIST_OLD',
        `the list has version ${list.version}, and version ${this.version} is in force here`,
        { details },
      );
    if (list.version > this.version) return;
    this.#tellFork(list.version, digest);
    throw new AntipodeError('REVOCATION_LIST_OLD', this.#conflict, { details });
  }

  /**
   * Operators have signed two lists with one version: a mistake, or the work of a thief. Their signatures prove
   * that. The process reports the first one until the next version.
   */
  #tellFork(version: number, digest: string): void {
    if (this.#conflict !== '') return;
    this.#conflict = `operators have signed two lists with version ${version}: ${(this.#held?.digest ?? '').slice(0, 16)} is in force here, and ${digest.slice(0, 16)} at another process`;
    this.#log.error('two lists of revoked certificates have one version', { version, digest });
  }

  #save({ list: { version }, signed }: HeldRevocations): void {
    const before = this.#unsaved;
    try {
      writeFileDurably(this.#options.file, revocationFileText(signed), { mode: 0o644 });
      this.#unsaved = '';
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.code !== 'FILE_UNWRITABLE') throw error;
      const reason = error.message.replace('[FILE_UNWRITABLE] ', '');
      this.#unsaved = `version ${version} of the list is in force and not durable, so a restart forgets it: ${reason}`;
      if (before !== this.#unsaved) this.#log.error('a list of revoked certificates cannot be written', { error });
    }
  }

  #use(held: HeldRevocations): void {
    this.#held = held;
    this.#judge = new Judge(held.list.entries);
    this.#conflict = '';
    for (const listener of this.#listeners) listener();
  }
}

/** The entry by which a list revokes a certificate. */
export const revocationIn = (entries: readonly Revocation[], certificate: X509Certificate): Revocation | undefined =>
  new Judge(entries).of(certificate);

/** The entries of one list, so that a connection costs a look into two maps. */
class Judge {
  readonly #certificates = new Map<string, Revocation>();
  readonly #identities = new Map<string, Revocation>();
  readonly #issuers: readonly (readonly [NonNullable<ReturnType<typeof issuerKeyFrom>>, Revocation])[];

  constructor(entries: readonly Revocation[]) {
    this.#issuers = entries.flatMap((entry) => {
      const key = entry.kind === 'issuer' ? issuerKeyFrom(entry.subject) : undefined;
      return key === undefined ? [] : [[key, entry] as const];
    });
    for (const entry of entries) {
      if (entry.kind === 'certificate') this.#certificates.set(entry.subject, entry);
      const before = this.#identities.get(entry.name);
      // ISO 8601 sorts as time does.
      if (entry.kind === 'identity' && (before === undefined || before.issuedBefore < entry.issuedBefore))
        this.#identities.set(entry.name, entry);
    }
  }

  of(certificate: X509Certificate): Revocation | undefined {
    return (
      (this.#certificates.size > 0 ? this.#certificates.get(sha256Hex(certificate.raw)) : undefined) ??
      this.#byIdentity(certificate) ??
      this.#issuers.find(([key]) => isSignedWith(certificate, key))?.[1]
    );
  }

  #byIdentity(certificate: X509Certificate): Revocation | undefined {
    const identity = this.#identities.size === 0 ? undefined : identityFromNames(certificate.subjectAltName);
    if (identity === undefined) return undefined;
    const { role: _, ...named } = identity;
    const entry = this.#identities.get(identityUri(named));
    return entry !== undefined && issuedMs(certificate) < Date.parse(entry.issuedBefore) ? entry : undefined;
  }
}

/** The chain proves nothing: whoever has the key of an issuer can leave its certificate out, or show another one. */
function isSignedWith(certificate: X509Certificate, key: Parameters<X509Certificate['verify']>[0]): boolean {
  try {
    return certificate.verify(key);
  } catch {
    // A key of another kind than the signature.
    return false;
  }
}
