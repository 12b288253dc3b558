/** The form in which somebody writes a story. */
import type { Story } from '../story.ts';

export type Written = readonly [
  seconds: number,
  kind: string,
  at?: string,
  rest?: { to?: string; for?: number; value?: number },
];

export type WrittenStories = Readonly<
  Record<
    string,
    Partial<Pick<Story, 'coordinators' | 'witnesses' | 'isLossless' | 'isGuarded' | 'isTimed' | 'hasBystanders'>> & {
      /** The second at which somebody must serve. */
      readonly servesAt?: number;
      readonly acts: readonly Written[];
    }
  >
>;
