/**
 * Other agents over mutual TLS. The members of this site's groups are kept connected: a probe must not wait for a new
 * connection, which takes four round trips on a long link.
 */
import { createClient, SiteAgentService, type Tls } from '@antipode/protocol';
import { AntipodeError, isAddress } from '@antipode/runtime';
import { Link } from './link.ts';
import { type Peer, type PeerAddress, type Peers, reachAll } from './peers.ts';

export class TlsPeers implements Peers {
  readonly #tls: Tls;
  readonly #link: Link;
  /** One for each site: who moves is reached at the new address, and what is under way at the old one ends there. */
  readonly #clients = new Map<string, { address: string; client: Peer }>();
  #members: readonly PeerAddress[] = [];

  constructor({ tls, link = new Link() }: { tls: Tls; link?: Link }) {
    this.#tls = tls;
    this.#link = link;
  }

  client({ site, address }: PeerAddress): Peer {
    if (!isAddress(address))
      throw new AntipodeError('REQUEST_INVALID', `the address of site ${site} must be host:port`, {
        details: { site },
      });
    const known = this.#clients.get(site);
    if (known?.address === address) return known.client;
    known?.client.close();
    const client = createClient(SiteAgentService, {
      address,
      tls: this.#tls,
      expected: { kind: 'site', name: site },
      link: () => this.#link.limits,
    });
    this.#clients.set(site, { address, client });
    return client;
  }

  learn(members: readonly PeerAddress[]): void {
    this.#members = [...new Map(members.map(({ site, address }) => [site, { site, address }])).values()];
  }

  /** The other sites of this site's groups, by the last answer of a coordinator. */
  get members(): readonly PeerAddress[] {
    return this.#members;
  }

  keepWarm(signal: AbortSignal, note: (site: string, reached: boolean) => void): Promise<void> {
    const members = this.#members.filter(({ address }) => isAddress(address));
    return reachAll(members, note, (member) =>
      this.client(member).ping({}, { timeoutMs: this.#link.limits.answerMs, signal }),
    );
  }

  async close(): Promise<void> {
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
