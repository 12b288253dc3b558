/** A failover that nobody has ordered ends where a person stops the automation before its epoch is issued. */
import { AntipodeError } from '@antipode/runtime';
import type { Group } from '../../model.ts';
import type { Request } from './plan.ts';

/**
 * A person may have stopped the automation since the failover began: while it fetched a generation, or asked hooks.
 * @throws FAILOVER_REFUSED
 */
export function requireAutomation({ spec, pause, highestEpoch, epoch }: Group, reason: Request['reason']): void {
  const isStopped = pause !== undefined || spec.failoverPolicy !== 'automatic';
  // Once an epoch was issued, somebody must serve.
  if (reason !== 'automatic' || highestEpoch !== epoch || !isStopped) return;
  const { name } = spec;
  const why = pause === undefined ? 'failover became manual' : `automation was paused by ${pause.operator}`;
  throw new AntipodeError('FAILOVER_REFUSED', `group ${name}: ${why} while this failover began; nothing was changed`, {
    details: { group: name },
    hint: `Run \`antipode failover ${name} --dry-run\` to see what an order of yours would do.`,
  });
}
