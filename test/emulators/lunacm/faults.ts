/** Faults on order: at the n-th object of a command, or at its end, something goes wrong. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Fault {
  /** `start` stands for the start of the tool. */
  readonly command: string;
  /** An object by its place, from 1; 0 is before the first output, and `end` right before the trailer. */
  readonly at: number | 'end';
  /**
   * `skip` leaves the object out and reports success. `repeat` reports the success of this command once more, when the
   * next one has been typed.
   */
  readonly do: 'fail' | 'hang' | 'die' | 'slow' | 'garble' | 'skip' | 'ask' | 'repeat';
  /** At this run of the command only, from 1; at each if absent. */
  readonly run?: number;
  readonly ms?: number;
  readonly symbol?: string;
}

export function readFaults(folder: string): Fault[] {
  const path = join(folder, 'faults.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Fault[]) : [];
}
