/** Other agents in the same process. Whether one is there is found out by each call. */
import { SiteAgentService } from '@antipode/protocol';
import type { MemoryNetwork } from '@antipode/protocol/testing';
import type { Peer, PeerAddress, Peers } from '../peers/peers.ts';

export class MemoryPeers implements Peers {
  readonly #network: MemoryNetwork;
  readonly #caller: string;
  readonly #life: AbortSignal | undefined;

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

  learn(): void {}

  async keepWarm(): Promise<void> {}

  async close(): Promise<void> {}
}
