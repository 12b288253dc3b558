/** A command beside the processes that hold lists of revoked certificates, and what a list would do. */
import { identityUri, OperatorService, type RevocationList, type Tls } from '@antipode/protocol';
import { AntipodeError, readTextFile } from '@antipode/runtime';
import {
  leaderFinder,
  loadOperatorConfig,
  type OperatorConfig,
  openTls,
  operatorConfigFile,
} from '../../operator-connection.ts';
import type { Output } from '../../output.ts';
import { RevocationDesk } from '../../revocations/revocation-desk.ts';
import { type RevocationPlan, revocationPlan } from '../../revocations/revocation-plan.ts';

export const TIMEOUT_S = 5;
export const MS = 1_000;

export const readFile = (path: string): string => readTextFile(path, 'USAGE');

export interface Desk {
  readonly config: OperatorConfig;
  readonly tls: Tls;
  readonly desk: RevocationDesk;
}

export async function withDesk<T>(
  { config: given, timeout }: { config?: string | undefined; timeout: number },
  work: (at: Desk) => Promise<T>,
): Promise<T> {
  const config = loadOperatorConfig(operatorConfigFile(given));
  const tls = openTls(config);
  const desk = new RevocationDesk(config, { tls, timeoutMs: timeout * MS });
  try {
    return await work({ config, tls, desk });
  } finally {
    desk.close();
  }
}

/** The sites and groups as the leader sees them; undefined where nobody answers in time. */
export async function statusOf({ config, tls }: Pick<Desk, 'config' | 'tls'>, timeoutMs: number) {
  const finder = leaderFinder(config, tls);
  try {
    return await finder.client(OperatorService).getStatus({}, { timeoutMs });
  } catch (thrown) {
    if (!(thrown instanceof AntipodeError)) throw thrown;
    return undefined;
  } finally {
    await finder.close();
  }
}

export async function planOf(
  at: Desk,
  { list, inForce, timeoutMs }: { list: RevocationList; inForce: RevocationList | undefined; timeoutMs: number },
): Promise<RevocationPlan> {
  const { role: _, ...named } = at.tls.identity;
  return revocationPlan(list, { inForce, status: await statusOf(at, timeoutMs), own: identityUri(named) });
}

export function tellPlan(out: Output, { consequences }: RevocationPlan): void {
  for (const line of consequences) out.note(line);
}
