import { type Outcome, siteErrors } from '../outcome.ts';
import type { ReseatState } from './machine.ts';

export function reseatOutcome(state: ReseatState): Outcome | undefined {
  if (state.phase !== 'reseated') return undefined;
  const { epoch, activeSite, seated, leftAside } = state;
  return {
    case: 'reseat',
    value: { epoch, activeSite, seatedSites: [...seated], leftAside: siteErrors(leftAside) },
  };
}
