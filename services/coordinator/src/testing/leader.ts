/** A leadership that a test gives and takes: of the epoch that a new database has, until the test says otherwise. */
import { AntipodeError } from '@antipode/runtime';
import type { Terms } from '../election.ts';

/** Nobody has led yet. A write under it is accepted as the leader's. */
export const FIRST_EPOCH = 0n;

export class FakeLeadership implements Terms {
  epoch: bigint | undefined = FIRST_EPOCH;
  /** Where its lease has only lapsed: the epoch in which it leads again. */
  lapsed: bigint | undefined;

  require(): bigint {
    if (this.epoch === undefined) throw new AntipodeError('LEADERSHIP_LOST', 'another coordinator leads');
    return this.epoch;
  }

  holder = '';
  /** Terms that it had to begin a later one for. */
  readonly outrunTerms: bigint[] = [];

  requireLead(): bigint {
    if (this.epoch === undefined) throw new AntipodeError('NOT_LEADER', 'another coordinator leads');
    return this.epoch;
  }

  async outrun(term: bigint): Promise<void> {
    this.outrunTerms.push(term);
  }

  async renewIfLapsed(): Promise<void> {
    this.epoch ??= this.lapsed;
  }
}
