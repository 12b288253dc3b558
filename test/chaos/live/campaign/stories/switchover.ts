/**
 * Planned moves of a group of many keys, there and back, while a client signs. Measures each move from its order until it
 * is complete, and how long the client could not sign.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '@antipode/runtime';
import { GROUP, TestSystem } from '../../../../support/system.ts';
import { TokenJudge } from '../../../soak/token-judge.ts';
import { SigningClient } from '../signing-client.ts';

const SITES = ['a', 'b', 'c'];
const FILL = fileURLToPath(new URL('../../../../bench/places/fill.ts', import.meta.url));
const PATIENCE_MS = 300_000;
const KEY = { id: 'ffff', label: 'signer' };

export interface Move {
  readonly to: string;
  /** From the order to the end of the operation. */
  readonly completeMs: number;
  /** The coordinator's own figure: from the end of service at the one site to service at the other. */
  readonly recoveryTimeMs: number;
  /** From the last signature at the one site to the first at the other. */
  readonly clientGapMs: number;
}

export async function switchOver({ keys, moves }: { keys: number; moves: number }): Promise<Move[]> {
  const system = await TestSystem.start({ processes: [...SITES, 'coordinator'], timeoutMs: PATIENCE_MS });
  try {
    const { token } = system.site('a');
    const order = { token, keys: { aes: keys - 1, ec: 0, rsa: 0 }, first: 0 };
    await promisify(execFile)(process.execPath, [FILL, JSON.stringify(order)]);
    const pair = ['--keypairgen', '--key-type', 'EC:prime256v1', '--sensitive', '--extractable', '--usage-sign'];
    await token.toolAsync(...pair, '--id', KEY.id, '--label', KEY.label);
    await system.replicate();
    const judges = new Map(SITES.map((name) => [name, new TokenJudge(system.site(name).token)]));
    const value = await judges.get('a')!.publicKey(KEY.id);
    const client = new SigningClient({ system, judges, key: { ...KEY, value } });
    client.start();
    try {
      await client.signs();
      return await moveAll(system, client, moves);
    } finally {
      await client.close();
    }
  } finally {
    await system.close();
  }
}

async function moveAll(system: TestSystem, client: SigningClient, moves: number): Promise<Move[]> {
  const found: Move[] = [];
  for (let count = 0, from = 'a'; count < moves; count += 1) {
    const to = from === 'a' ? 'b' : 'a';
    // A former active site comes back as a standby first.
    await system.until(`nothing keeps site ${to} from serving`, async () => {
      const { obstacle } = await system.operator.planFailover({ group: GROUP, toSite: to });
      return obstacle === '';
    });
    found.push(await moveOnce(system, client, { from, to }));
    from = to;
  }
  return found;
}

async function moveOnce(
  system: TestSystem,
  client: SigningClient,
  { from, to }: { from: string; to: string },
): Promise<Move> {
  const startedMs = systemClock.monotonicMs();
  const { operationId } = await system.operator.failover({ group: GROUP, toSite: to });
  await system.ended(operationId);
  const completeMs = systemClock.monotonicMs() - startedMs;
  const signed = await client.signsElsewhere(from, PATIENCE_MS);
  const { group } = await system.operator.getGroup({ group: GROUP });
  return {
    to,
    completeMs: Math.round(completeMs),
    recoveryTimeMs: Number(group?.lastRecoveryTimeMs ?? 0n),
    clientGapMs: Math.round(signed?.afterMs ?? Number.NaN),
  };
}
