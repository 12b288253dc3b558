/** What `role show` says about a role before anybody logs in. */
import type { Phrases } from '../phrases.ts';

export interface RoleState {
  readonly isInitialised: boolean;
  /** The device can go on saying so after the lock has lapsed, until somebody logs in. */
  readonly isLocked: boolean;
  readonly isActivated: boolean;
  /** Undefined if nothing says how people log in. */
  readonly isPed: boolean | undefined;
  /** Either the attempts left or the configured limit: nobody has confirmed which. Never the sole reason to try. */
  readonly attemptsLeft: number | undefined;
}

export function roleStateIn(lines: readonly string[], phrases: Phrases): RoleState {
  const find = (name: 'attemptsLeft' | 'authentication'): string | undefined =>
    lines.map((line) => phrases[name].pattern.exec(line)?.[1]).find((value) => value !== undefined);
  const has = (name: 'notInitialised' | 'lockedOut' | 'activated'): boolean =>
    lines.some((line) => phrases[name].pattern.test(line));
  const attempts = find('attemptsLeft');
  const authentication = find('authentication');
  return {
    isInitialised: !has('notInitialised'),
    isLocked: has('lockedOut'),
    isActivated: has('activated'),
    isPed: authentication === undefined ? undefined : /^PED\b/i.test(authentication),
    attemptsLeft: attempts === undefined ? undefined : Number(attempts),
  };
}

/** Whether the lines are those of a role that somebody can log in as. */
export const isRoleStateIn = (lines: readonly string[], phrases: Phrases): boolean =>
  lines.some((line) => phrases.authentication.pattern.test(line) || phrases.attemptsLeft.pattern.test(line));
