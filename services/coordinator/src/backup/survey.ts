/** Asks the agents of all sites for their own account, as a coordinator does. Reads only. */
import { type DescribeResponse, linkLimits, type ToldGroup } from '@antipode/protocol';
import { AntipodeError, hasCode } from '@antipode/runtime';
import type { Dial } from '../sites/agents.ts';
import type { Timings } from '../timings.ts';

/** An account, or the reason why there is none. */
export interface Asked {
  readonly site: string;
  readonly address: string;
  readonly account?: DescribeResponse;
  /** Absent where it was not asked, and where the agent does not know the question. */
  readonly groups?: readonly ToldGroup[];
  /** How long ago a coordinator last answered the site; absent where it tells nothing of that. */
  readonly coordinatorSilentMs?: number;
  readonly error?: AntipodeError;
}

const ANSWER_MS = 10_000;

/**
 * Side by side, each for a limited time.
 * @param options.areGroupsTold asks for the declarations of the groups as well
 */
export function askSites(
  sites: readonly { readonly site: string; readonly address: string }[],
  { dial, timings, areGroupsTold = false }: { dial: Dial; timings: Timings; areGroupsTold?: boolean },
): Promise<Asked[]> {
  const link = linkLimits(timings.roundTripMsMax);
  return Promise.all(
    sites.map(async ({ site, address }) => {
      const agent = dial({ site, address, link });
      try {
        const account = await agent.describe({}, { timeoutMs: ANSWER_MS });
        if (!areGroupsTold) return { site, address, account };
        const told = await agent.tellGroups({}, { timeoutMs: ANSWER_MS }).catch((thrown: unknown) => {
          // An agent of the previous release.
          if (!hasCode(thrown, 'REQUEST_INVALID')) throw thrown;
        });
        if (told === undefined) return { site, address, account };
        const silentMs = told.coordinatorSilentMs;
        const heard = silentMs === undefined ? {} : { coordinatorSilentMs: Number(silentMs) };
        return { site, address, account, groups: told.groups, ...heard };
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
