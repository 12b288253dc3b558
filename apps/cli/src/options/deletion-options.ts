/** The options of a group on deleted objects. */
import { LOSS_LIMIT, RETENTION_MS } from '@antipode/hsm-core';
import type { DeletionPolicy } from '@antipode/protocol';

export interface DeletionOptions {
  readonly deletedRetention?: number;
  readonly lossObjects?: number;
  readonly lossPercent?: number;
}

type Policy = Pick<DeletionPolicy, 'retentionMs' | 'lossObjects' | 'lossPercent'>;

/** Nothing if no option is given: then the group keeps what it has. A part that is not given stays, or is the default. */
export function deletionsOf(options: DeletionOptions, inForce: Policy | undefined): { deletions?: Policy } {
  const { deletedRetention, lossObjects, lossPercent } = options;
  if ([deletedRetention, lossObjects, lossPercent].every((one) => one === undefined)) return {};
  const retentionMs =
    deletedRetention === undefined
      ? (inForce?.retentionMs ?? BigInt(RETENTION_MS))
      : BigInt(Math.round(deletedRetention * 86_400_000));
  return {
    deletions: {
      retentionMs,
      lossObjects: lossObjects ?? inForce?.lossObjects ?? LOSS_LIMIT.objects,
      lossPercent: lossPercent ?? inForce?.lossPercent ?? LOSS_LIMIT.percent,
    },
  };
}
