/** Other agents in the same process. Whether one is there is found out by each call. */
import { SiteAgentService } from '@antipode/protocol';
import type { MemoryNetwork } from '@antipode/protocol/testing';
import type { Peer, PeerAddress, Peers } from '../peers/peers.ts';

export class MemoryPeers implements Peers {
  readonly #network: MemoryNetwork;
  readonly #caller: string;

  constructor({ network, caller }: { network: MemoryNetwork; caller: string }) {
    this.#network = network;
    this.#caller = caller;
  }

  client({ site }: PeerAddress): Peer {
    return this.#network.client(SiteAgentService, {
      caller: { kind: 'site', name: this.#caller },
      callee: { kind: 'site', name: site },
    });
  }

  learn(): void {}

  async keepWarm(): Promise<void> {}

  async close(): Promise<void> {}
}
