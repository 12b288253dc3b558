/** Two real agents with a link between them that can be slow: full rounds, the pull alone, small rounds, and their memory. */
import { systemClock } from '@antipode/runtime';
import { openLink } from '../../support/proxy.ts';
import type { TestToken } from '../../support/tokens.ts';
import { fill, onlyAes } from '../places/keys.ts';
import { BenchSites } from '../places/sites.ts';
import type { Bench } from './measurements.ts';
import { pull } from './transfer.ts';

/** Until the agents have given back what the last order left. */
export const REST_MS = 5_000;

export interface LinkRound {
  /** The time of the standby from the order to the acknowledgement. */
  readonly totalMs: number;
  readonly applyMs: number;
  readonly verifyMs: number;
  /** The pull alone, in this process. */
  readonly pullMs: number;
}

export interface SmallRound {
  readonly unchangedMs: number;
  readonly newKeyMs: number;
  readonly captureMs: number;
  readonly applyMs: number;
  readonly verifyMs: number;
}

export interface WanResult {
  readonly captureMs: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly rounds: readonly { readonly without: LinkRound; readonly delayed: LinkRound }[];
  readonly small: readonly SmallRound[];
  readonly active: AgentState;
  readonly standby: AgentState;
}

export interface AgentState {
  /** Resident memory at rest and at its highest, MiB. */
  readonly now: number;
  readonly peak: number;
  readonly loopDelayMs: number;
}

export async function measureWan(
  bench: Bench,
  { source, count, rttMs }: { source: TestToken; count: number; rttMs: number },
): Promise<WanResult> {
  const { workspace, rounds, tell } = bench;
  const sites = await BenchSites.start(workspace, { source, agentEnvironment: bench.profiling });
  const links = [await openLink(sites.a.port), await openLink(sites.a.port, { delayMs: rttMs / 2 })] as const;
  try {
    const generation = await sites.capture();
    tell(`  captured in ${generation.ms.toFixed(0)} ms`);
    let [blobs, bytes] = [0, 0];
    const over = async (address: string): Promise<LinkRound> => {
      const pulled = await pull(workspace, { site: sites.b, generation, address });
      ({ blobs, bytes } = pulled);
      await sites.emptyStandby();
      await sites.startAgent(sites.b);
      return { ...(await sites.acknowledge(generation, address)), pullMs: pulled.ms };
    };
    const measured: { without: LinkRound; delayed: LinkRound }[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const [direct, slow] = links;
      const delayedFirst = round % 2 === 1 ? await over(slow.address) : undefined;
      const without = await over(direct.address);
      const delayed = delayedFirst ?? (await over(slow.address));
      measured.push({ without, delayed });
      tell(
        `  round ${round + 1}: without ${without.totalMs.toFixed(0)} ms (pull ${without.pullMs.toFixed(0)} ms), with ${rttMs} ms ${delayed.totalMs.toFixed(0)} ms (pull ${delayed.pullMs.toFixed(0)} ms)`,
      );
    }
    const small: SmallRound[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await systemClock.sleep(300);
      const unchanged = await sites.capture();
      await fill(workspace, source, onlyAes(1), count + round);
      await systemClock.sleep(300);
      const captured = await sites.capture();
      if (unchanged.isNew || !captured.isNew) throw new Error('a capture found what it should not');
      const { totalMs, applyMs, verifyMs } = await sites.acknowledge(captured);
      small.push({
        unchangedMs: unchanged.ms,
        newKeyMs: captured.ms + totalMs,
        captureMs: captured.ms,
        applyMs,
        verifyMs,
      });
      tell(
        `  small round ${round + 1}: unchanged ${unchanged.ms.toFixed(0)} ms, one new key ${(captured.ms + totalMs).toFixed(0)} ms`,
      );
    }
    await systemClock.sleep(REST_MS);
    const [active, standby] = [sites.a, sites.b].map(
      (site): AgentState => ({ ...site.residentMiB(), loopDelayMs: site.loopDelayMs }),
    ) as [AgentState, AgentState];
    tell(`  agents: active ${active.now} MiB (peak ${active.peak}), standby ${standby.now} MiB (peak ${standby.peak})`);
    return { captureMs: generation.ms, blobs, bytes, rounds: measured, small, active, standby };
  } finally {
    for (const link of links) await link.close();
    await sites.close();
  }
}
