/** The agents of other sites, as orders, transfers and heartbeats reach them. */
import type { Client, SiteAgentService } from '@antipode/protocol';
import { AntipodeError, type Closeable } from '@antipode/runtime';

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

  /**
   * Tries to reach what it has learnt, which also keeps it connected. Called every few seconds, never twice at once. A
   * peer that is away causes no error.
   * @param note receives the outcome of each attempt
   */
  keepWarm(signal: AbortSignal, note: (site: string, reached: boolean) => void): Promise<void>;
}

/** One attempt for each, side by side. @throws a defect of this process */
export async function reachAll(
  members: readonly PeerAddress[],
  note: (site: string, reached: boolean) => void,
  ping: (member: PeerAddress) => Promise<unknown>,
): Promise<void> {
  await Promise.all(
    members.map(async (member) => {
      try {
        await ping(member);
        note(member.site, true);
      } catch (thrown) {
        // Not an error here: the coordinator decides what a peer that cannot be reached means.
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        note(member.site, false);
      }
    }),
  );
}
