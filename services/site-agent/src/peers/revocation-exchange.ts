/**
 * Keeps the list of revoked certificates of this site and those of all others the same. Every agent compares with all
 * coordinators, and with the agents that it knows. So a list that anybody has reaches everybody, even if the leader is
 * cut off or keeps it back. A process that keeps an older one is named in the log.
 */
import {
  type Client,
  type CoordinatorAddress,
  createClient,
  exchangeRevocations,
  type RevocationBook,
  RevocationService,
  type Tls,
} from '@antipode/protocol';
import { AntipodeError, type Clock, type Closeable, isAddress, type Log } from '@antipode/runtime';
import type { Link } from './link.ts';
import type { PeerAddress } from './peers.ts';

/** A process that could have taken the list for so long, and has not, does not want to. */
const BEHIND_MS = 60_000;

export interface RevocationExchangeOptions {
  readonly book: RevocationBook;
  readonly tls: Tls;
  readonly clock: Clock;
  readonly log: Log;
  readonly link: Link;
  readonly coordinators: readonly CoordinatorAddress[];
  /** The other sites, as far as they are known. */
  readonly members: () => readonly PeerAddress[];
}

interface Other {
  readonly kind: 'coordinator' | 'site';
  readonly name: string;
  readonly address: string;
}

export class RevocationExchange implements Closeable {
  readonly #options: RevocationExchangeOptions;
  readonly #clients = new Map<string, { address: string; client: Client<typeof RevocationService> }>();
  readonly #behindSinceMs = new Map<string, number>();
  /** The trouble with each process, so that it is one line in the log. */
  readonly #troubles = new Map<string, string>();
  #ownRefusal = '';

  constructor(options: RevocationExchangeOptions) {
    this.#options = options;
  }

  /** One round with everybody, side by side. A process that is away is asked in the next one. */
  async pass(signal: AbortSignal): Promise<void> {
    const { coordinators, members } = this.#options;
    this.#look();
    const others: Other[] = [
      ...coordinators.map(({ id, address }) => ({ kind: 'coordinator' as const, name: id, address })),
      ...members().map(({ site, address }) => ({ kind: 'site' as const, name: site, address })),
    ];
    await Promise.all(others.filter(({ address }) => isAddress(address)).map((one) => this.#compare(one, signal)));
    this.#tellOwn();
  }

  /** A damaged file does not keep a newer list away, which takes its place. */
  #look(): void {
    const { book, log } = this.#options;
    const name = 'the file of the list';
    try {
      book.look();
      this.#troubles.delete(name);
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.code !== 'REVOCATION_LIST_INVALID') throw error;
      this.#tell(name, error.message, () => log.error('the file of revoked certificates cannot be read', { error }));
    }
  }

  async close(): Promise<void> {
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #compare(other: Other, signal: AbortSignal): Promise<void> {
    const { book, link, clock, log } = this.#options;
    const name = `${other.kind}/${other.name}`;
    try {
      const timeoutMs = link.limits.answerMs;
      const { theirs, isBehind } = await exchangeRevocations(book, this.#client(name, other), { timeoutMs, signal });
      this.#troubles.delete(name);
      const nowMs = clock.monotonicMs();
      const sinceMs = this.#behindSinceMs.get(name) ?? nowMs;
      if (!isBehind) this.#behindSinceMs.delete(name);
      else this.#behindSinceMs.set(name, sinceMs);
      if (isBehind && nowMs - sinceMs >= BEHIND_MS)
        this.#tell(name, `it keeps version ${theirs}, and version ${book.version} was offered`, (process) =>
          log.error('a process does not take the list of revoked certificates', {
            process,
            theirs,
            version: book.version,
          }),
        );
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.disposition === 'defect') throw error;
      // A process that is away, revoked, or of an earlier release says nothing. A list that was refused is worth a line.
      if (error.code.startsWith('REVOCATION_'))
        this.#tell(name, error.message, (process) =>
          log.warn('a list of revoked certificates was not taken', { process, error }),
        );
    }
  }

  #tell(name: string, trouble: string, say: (name: string) => void): void {
    if (this.#troubles.get(name) === trouble) return;
    this.#troubles.set(name, trouble);
    say(name);
  }

  #tellOwn(): void {
    const { tls, log } = this.#options;
    const error = tls.ownRefusal();
    if (error?.message === this.#ownRefusal) return;
    this.#ownRefusal = error?.message ?? '';
    if (error !== undefined) log.error('the certificate of this site is revoked: every process refuses it', { error });
  }

  #client(name: string, { kind, name: peer, address }: Other): Client<typeof RevocationService> {
    const known = this.#clients.get(name);
    if (known?.address === address) return known.client;
    known?.client.close();
    const { tls, link } = this.#options;
    const client = createClient(RevocationService, {
      address,
      tls,
      expected: { kind, name: peer },
      link: () => link.limits,
      // Otherwise an honest process whose key was stolen would never hear of it.
      evenRevoked: true,
    });
    this.#clients.set(name, { address, client });
    return client;
  }
}
