/** Between the command and its workers. */
import type { Violation } from '../scenarios/run.ts';
import type { Act } from '../scenarios/story.ts';

export interface Ask {
  readonly seed: number;
  /** The name of a story that somebody wrote; absent for the story of the seed itself. */
  readonly story?: string;
  /** Whether the story of a violation is shrunk. */
  readonly isShrunk: boolean;
}

export interface Told {
  readonly seed: number;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
  readonly checks: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Of the event log. */
  readonly lines: number;
  /** Those that are left where the story was shrunk. */
  readonly acts: readonly Act[];
}

export type Tell = Told | 'ready';
