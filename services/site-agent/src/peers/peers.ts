/** The agents of other sites, as orders, transfers and heartbeats reach them. */
import type { Client, SiteAgentService } from '@antipode/protocol';
import type { Closeable } from '@antipode/runtime';

export interface PeerAddress {
  readonly site: string;
  readonly address: string;
}

export type Peer = Client<typeof SiteAgentService>;

/** Any number of callers may ask at once, for one peer or several. Nothing of it is durable. */
export interface Peers extends Closeable {
  /**
   * The agent of a site. The address comes with an order or with the answer to a heartbeat; whose certificate must be there
   * is ours to say. One client for each site: where a site has moved, the calls under way at its old address end.
   * @throws REQUEST_INVALID
   */
  client(peer: PeerAddress): Peer;

  /** Learns the other members of this site's groups from the coordinator's answer. */
  learn(members: readonly PeerAddress[]): void;

  /** Keeps what it has learnt connected. Called every few seconds, never twice at once. A peer that is away causes no error. */
  keepWarm(signal: AbortSignal): Promise<void>;
}
