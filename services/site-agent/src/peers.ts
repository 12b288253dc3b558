/** Connections to other agents, made when they are needed. An address comes with the order; whom to expect there is ours. */
import { type Client, createClient, SiteAgentService, type Tls } from '@antipode/protocol';
import { AntipodeError, type Closeable } from '@antipode/runtime';

export interface PeerAddress {
  readonly site: string;
  readonly address: string;
}

export type Peer = Client<typeof SiteAgentService>;

export class Peers implements Closeable {
  readonly #tls: Tls;
  readonly #clients = new Map<string, Peer>();

  constructor({ tls }: { tls: Tls }) {
    this.#tls = tls;
  }

  /** @throws REQUEST_INVALID */
  client({ site, address }: PeerAddress): Peer {
    if (!/^[^\s:]+:\d{1,5}$/.test(address))
      throw new AntipodeError('REQUEST_INVALID', `the address of site ${site} must be host:port`, {
        details: { site },
      });
    const key = `${site} ${address}`;
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const client = createClient(SiteAgentService, { address, tls: this.#tls, expected: { kind: 'site', name: site } });
    this.#clients.set(key, client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
