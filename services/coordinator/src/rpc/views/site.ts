/** Sites as operators see them. */
import type { SiteStateSchema } from '@antipode/protocol';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RefusedAgent, SiteView } from '../../sites/detector.ts';

export function siteState(
  view: SiteView,
  nowMonotonicMs: number,
  refused?: RefusedAgent,
): MessageInitShape<typeof SiteStateSchema> {
  return {
    site: view.site,
    address: view.address,
    state: view.status,
    reason: view.reason,
    ...(view.lastWallMs === undefined ? {} : { silenceMs: BigInt(Math.round(nowMonotonicMs - view.lastMs)) }),
    version: view.state?.version ?? '',
    partitions: view.state?.partitions ?? [],
    ...(refused === undefined
      ? {}
      : {
          refusedAgent: {
            address: refused.address,
            peer: refused.peer,
            sinceMs: BigInt(Math.round(nowMonotonicMs - refused.sinceMs)),
            lastMs: BigInt(Math.round(nowMonotonicMs - refused.lastMs)),
            heartbeats: refused.heartbeats,
          },
        }),
    ...(view.state?.certificate === undefined ? {} : { certificate: view.state.certificate }),
  };
}
