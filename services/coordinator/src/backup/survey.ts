/** Asks the agents of all sites for their own account, as a coordinator does. Reads only. */
import { type DescribeResponse, linkLimits } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Dial } from '../sites/agents.ts';
import type { Timings } from '../timings.ts';

/** An account, or the reason why there is none. */
export interface Asked {
  readonly site: string;
  readonly address: string;
  readonly account?: DescribeResponse;
  readonly error?: AntipodeError;
}

const ANSWER_MS = 10_000;

/** Side by side, each for a limited time. */
export function askSites(
  sites: readonly { readonly site: string; readonly address: string }[],
  { dial, timings }: { dial: Dial; timings: Timings },
): Promise<Asked[]> {
  const link = linkLimits(timings.roundTripMsMax);
  return Promise.all(
    sites.map(async ({ site, address }) => {
      const agent = dial({ site, address, link });
      try {
        return { site, address, account: await agent.describe({}, { timeoutMs: ANSWER_MS }) };
      } catch (thrown) {
        const error = AntipodeError.from(thrown);
        if (error.disposition === 'defect') throw error;
        return { site, address, error };
      } finally {
        agent.close();
      }
    }),
  );
}
