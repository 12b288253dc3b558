/** The pull alone: what crosses between two sites, into an empty store, with nothing of the HSMs in it. */
import { join } from 'node:path';
import { Tls } from '@antipode/protocol';
import { hex, silentLog, systemClock } from '@antipode/runtime';
import { Pins } from '@antipode/site-agent';
import { GenerationStore, TlsPeers, Transfer, Trust } from '@antipode/site-agent/testing';
import { type BenchSite, type Captured, GROUP } from '../places/sites.ts';
import type { Workspace } from '../places/workspace.ts';

/** Pulls in this process, as site b does. */
export async function pull(
  workspace: Workspace,
  { site, generation, address }: { site: BenchSite; generation: Captured; address: string },
): Promise<{ ms: number; blobs: number; bytes: number }> {
  const store = GenerationStore.open(workspace.folder('pulled'), { clock: systemClock });
  const peers = new TlsPeers({ tls: new Tls(site.tls) });
  try {
    const transfer = new Transfer({
      store,
      peers,
      trust: new Trust({
        site: site.name,
        partitions: [],
        pins: new Pins(join(site.folder, 'pins.yaml')),
        tenure: { fence: () => undefined },
        enrolments: { isEnrolled: () => true, refuseUnapproved: () => {} },
      }),
      log: silentLog,
      clock: systemClock,
    });
    const startMs = systemClock.monotonicMs();
    const { blobs, bytes } = await transfer.pull({
      group: GROUP,
      digest: hex(generation.manifestDigest),
      sources: [{ site: 'a', address }],
    });
    return { ms: systemClock.monotonicMs() - startMs, blobs, bytes };
  } finally {
    await peers.close();
    store.close();
  }
}
