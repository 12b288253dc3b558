import { archiveWorkNumber } from '@antipode/protocol';
import { generationNames, type Outcome } from '../outcome.ts';
import type { ArchiveState } from './machine.ts';

export function archiveOutcome(state: ArchiveState): Outcome {
  const { work, serial, backup } = state.target;
  const shown = 'shown' in state ? state.shown : undefined;
  return {
    case: 'archive',
    value: {
      work: archiveWorkNumber(work),
      serial,
      backup: shown?.backup ?? backup,
      ...(shown === undefined
        ? {}
        : {
            generation: generationNames(shown),
            verdict: shown.verdict,
            why: shown.why,
            objects: shown.objects,
            deleted: [...shown.deleted],
            safetyBackup: shown.safetyBackup,
          }),
    },
  };
}
