/** Asks the agents of all sites for their own word: first the one in the configuration, then those that it knows. */
import { createClient, type OwnAccountResponse, ResolverService, type Tls } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Asked } from '../views/own-accounts.ts';

interface Agent {
  readonly site: string;
  readonly address: string;
}

type Ask = (agent: Agent) => Promise<OwnAccountResponse>;

export const askOverTls =
  (tls: Tls, timeoutMs: number): Ask =>
  async ({ site, address }) => {
    const client = createClient(ResolverService, {
      address,
      tls,
      expected: { kind: 'site', name: site },
      hasCallIds: true,
    });
    try {
      return await client.ownAccount({}, { timeoutMs });
    } finally {
      client.close();
    }
  };

/** Those that do not answer are in the answer with their error. By site. */
export async function ownAccounts(first: Agent, ask: Ask): Promise<Asked[]> {
  const asked = async (agent: Agent): Promise<Asked> => {
    const { site, address } = agent;
    try {
      return { site, address, account: await ask(agent) };
    } catch (thrown) {
      return { site, address, errorCode: AntipodeError.from(thrown).code };
    }
  };
  const own = await asked(first);
  const peers = (own.account?.peers ?? []).filter(({ site }) => site !== first.site);
  const others = await Promise.all(peers.map(({ site, address }) => asked({ site, address })));
  return [own, ...others].sort((one, other) => (one.site < other.site ? -1 : 1));
}
