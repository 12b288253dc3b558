/** The question before something that is hard to take back: the answer is typed, and it is a name. */
import { AntipodeError } from '@antipode/runtime';

/** The question, wherever it is asked. */
export const confirmationQuestion = (what = 'the group'): string => `Type the name of ${what} to continue`;

/** @throws USAGE when another text than the name was typed, or none */
export function requireTyped(answer: string | undefined, { name, what = 'the group' }: Confirmation): void {
  if (answer?.trim() === name) return;
  throw new AntipodeError('USAGE', `not confirmed: the answer was not "${name}"; nothing was changed`, {
    details: { field: 'confirm' },
    hint: `Try again and type the name of ${what} exactly.`,
  });
}

export interface Confirmation {
  /** The text that must be typed. */
  readonly name: string;
  /** The thing that has this name. */
  readonly what?: string | undefined;
}
