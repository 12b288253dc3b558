/** Reads both ends of a move and judges whether it can succeed. Nothing is changed, and nobody logs in. */
import { AntipodeError } from '@antipode/runtime';
import type { PartitionAddress } from '../approvals.ts';
import type { Vault } from '../parse/archives.ts';
import { certificatesIn } from '../preflight/certificates.ts';
import type { Move, PreflightRow } from '../preflight/facts.ts';
import { preflightOf } from '../preflight/rules.ts';
import type { JobPorts } from './job-ports.ts';
import { examine, survey, vaultState } from './reading.ts';

export interface CompareOrder {
  readonly move: Move;
  /** A partition, or the vault of a restore. */
  readonly from: PartitionAddress;
  /** A partition, or the vault of a backup. */
  readonly to: PartitionAddress;
  /** The backup to be restored. */
  readonly archive?: string;
}

/** @throws what stops the reading */
export async function compareEnds(order: CompareOrder, ports: JobPorts): Promise<PreflightRow[]> {
  const { move, from, to, archive } = order;
  const vault = move === 'backup' ? to : move === 'restore' ? from : undefined;
  const [here, there] = [
    await examine(from, from === vault ? 'device' : 'partition', ports),
    await examine(to, to === vault ? 'device' : 'partition', ports),
  ];
  const list: Vault | undefined = vault === undefined ? undefined : await vaultState(vault, ports);
  return preflightOf({
    ...{ move, from: here, to: there, isHaOnly: ports.settings.isHaOnly },
    client: (await survey(ports)).version,
    attemptsFloor: ports.profile.attemptsFloor,
    certificates: certificatesIn(ports.settings.certificates),
    nowMs: ports.clock.wallMs(),
    ...(list === undefined ? {} : { vault: list }),
    ...(archive === undefined ? {} : { archive }),
  });
}

/** A backup that has no space names who holds it, and so reports more than this rule. */
const REPORTED_BY_THE_MOVE = 'space';

/**
 * @param options `except` names rules that this move is made against
 * @throws LUNA_REFUSED if a rule says that the move will fail, and what stops the reading
 */
export async function requireFit(
  order: CompareOrder,
  ports: JobPorts,
  { except = [] }: { except?: readonly string[] } = {},
): Promise<void> {
  const rows = await compareEnds(order, ports);
  const ignored = new Set([REPORTED_BY_THE_MOVE, ...except]);
  const failing = rows.filter(({ verdict, rule }) => verdict === 'will fail' && !ignored.has(rule));
  const [first] = failing;
  if (first === undefined) return;
  throw new AntipodeError(
    'LUNA_REFUSED',
    `this ${order.move} will fail: ${failing.map(({ rule }) => rule).join(', ')}`,
    {
      details: { serial: order.from.serial, found: first.found, rules: failing.map(({ rule }) => rule).join(', ') },
      hint: `${first.advice} Nothing was changed.`,
    },
  );
}
