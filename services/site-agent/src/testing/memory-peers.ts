/** Other agents in the same process. Whether one is there is found out by each call. */
import { SiteAgentService } from '@antipode/protocol';
import type { MemoryNetwork } from '@antipode/protocol/testing';
import { type Peer, type PeerAddress, type Peers, reachAll } from '../peers/peers.ts';

const PING_MS = 2_000;

export class MemoryPeers implements Peers {
  readonly #network: MemoryNetwork;
  readonly #caller: string;
  readonly #life: AbortSignal | undefined;
  #members: readonly PeerAddress[] = [];

  /** `life` is aborted when the caller has ended. */
  constructor({ network, caller, life }: { network: MemoryNetwork; caller: string; life?: AbortSignal }) {
    this.#network = network;
    this.#caller = caller;
    this.#life = life;
  }

  client({ site }: PeerAddress): Peer {
    return this.#network.client(SiteAgentService, {
      caller: { kind: 'site', name: this.#caller },
      callee: { kind: 'site', name: site },
      ...(this.#life === undefined ? {} : { life: this.#life }),
    });
  }

  learn(members: readonly PeerAddress[]): void {
    this.#members = [...new Map(members.map((member) => [member.site, member])).values()];
  }

  keepWarm(signal: AbortSignal, note: (site: string, reached: boolean) => void): Promise<void> {
    return reachAll(this.#members, note, (member) => this.client(member).ping({}, { timeoutMs: PING_MS, signal }));
  }

  async close(): Promise<void> {}
}
