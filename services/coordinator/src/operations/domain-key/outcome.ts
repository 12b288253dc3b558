import type { Outcome } from '../outcome.ts';
import type { DomainKeyState } from './machine.ts';

export function domainKeyOutcome(state: DomainKeyState): Outcome | undefined {
  if (state.phase === 'due' || state.phase === 'seating') return undefined;
  const failures = 'failures' in state ? state.failures : [];
  return {
    case: 'domainKey',
    value: {
      version: 'version' in state ? state.version : 0,
      sites: 'sites' in state ? [...state.sites] : [],
      failures: failures.map(({ serial, code, message }) => ({ serial, errorCode: code, message })),
    },
  };
}
