/**
 * The last account of each site's journal. A journal that does not know the run and the count that were heard before is an
 * older copy, or another journal: its site goes into quarantine. The marks are kept in memory, since a heartbeat waits for
 * no query. They are written down with each pass, and with every record of an answer of the site. So the database has
 * nothing that a site has done without the mark of the journal that knows it.
 */
import type { JournalMark as Answered, DescribeResponse, JournalState, QuarantinedSeat } from '@antipode/protocol';
import { type Group, witnessesOf } from '../model.ts';
import type { Store, Write } from '../store/store.ts';
import { type JournalMark, readJournalMarks, recordJournalMarks } from '../store/tables/sites/journals.ts';

/**
 * The process that was heard last of a site: `none` is on record, it is `itself`, it has certainly `ended` since its
 * successor holds its lock, or it is `unknown` whether it has. A process of a copied folder does not hold that lock.
 */
export type Predecessor = 'none' | 'itself' | 'ended' | 'unknown';

export class JournalBook {
  readonly #store: Pick<Store, 'query' | 'write'>;
  #marks = new Map<string, JournalMark>();
  readonly #unwritten = new Set<string>();

  constructor({ store }: { store: Pick<Store, 'query' | 'write'> }) {
    this.#store = store;
  }

  /** Before this coordinator leads. */
  async load(): Promise<void> {
    const marks = await this.#store.query(readJournalMarks);
    this.#marks = new Map(marks.map((mark) => [mark.site, mark]));
    this.#unwritten.clear();
  }

  /**
   * Takes what a site says of its journal. If that is another journal than before, the site goes into quarantine in every
   * group in which it has a seat. `added` is for the agent, which persists it and says it itself from then on. The next
   * heartbeat is then compared with the new journal. The account that is returned includes the quarantine.
   */
  hear(state: DescribeResponse, groups: readonly Group[]): { account: DescribeResponse; added: QuarantinedSeat[] } {
    const { journal, site } = state;
    const current = journal?.runs.at(-1);
    if (journal === undefined || journal.id === '' || current === undefined) return { account: state, added: [] };
    const trouble = troubleOf(journal, this.#marks.get(site));
    const seats = groups.filter(
      (group) =>
        [...group.members, ...group.joining].some((member) => member.site === site) ||
        witnessesOf(group).includes(site),
    );
    const isPersisted = (group: Group): boolean => journal.quarantined.some((one) => one.group === group.spec.name);
    if (trouble === undefined || seats.every(isPersisted)) {
      const { token: run, writes } = current;
      const before = this.#marks.get(site);
      const answered = before?.journal === journal.id && before.run === run ? before.answered : 0n;
      this.#keep({ site, journal: journal.id, run, writes, answered });
      return { account: state, added: [] };
    }
    const added: QuarantinedSeat[] = seats
      .filter((group) => !isPersisted(group))
      .map(({ spec }) => ({ $typeName: 'antipode.v1.QuarantinedSeat' as const, group: spec.name, reason: trouble }));
    return { account: { ...state, journal: { ...journal, quarantined: [...journal.quarantined, ...added] } }, added };
  }

  /** The run of the process that was heard last under this site's name; undefined before the first. */
  runOf(site: string): string | undefined {
    return this.#marks.get(site)?.run;
  }

  /** How the process that sends an account of its journal is related to the one that was heard last under this site's name. */
  predecessorOf({ site, journal }: Pick<DescribeResponse, 'site' | 'journal'>): Predecessor {
    const heard = this.#marks.get(site);
    const current = journal?.runs.at(-1);
    if (heard === undefined || current === undefined) return 'none';
    if (current.token === heard.run) return 'itself';
    const before = journal?.runs.find(({ token }) => token === heard.run);
    return before !== undefined && before.place !== '' && before.place === current.place ? 'ended' : 'unknown';
  }

  /** Takes how far the journal of a site had come when an order of it ended. Of a run that no heartbeat told of, nothing. */
  answered(site: string, { id, run, writes }: Answered): void {
    const before = this.#marks.get(site);
    if (before === undefined || before.journal !== id || before.run !== run || before.answered >= writes) return;
    this.#keep({ ...before, answered: writes });
  }

  /** An operator seats the site again on the journal that it has: the next heartbeat says which one that is. */
  accept(site: string): void {
    this.#marks.delete(site);
  }

  /** Writes down what has changed since the last time. */
  async flush(leaderEpoch: bigint): Promise<void> {
    if (this.#unwritten.size === 0) return;
    const isWritten = await this.#store.write(leaderEpoch, (trx) => this.recordIn(trx));
    isWritten();
  }

  /** The same, as part of a change of state. Returns what is to be called once that is durable. */
  async recordIn(trx: Write): Promise<() => void> {
    const marks = [...this.#unwritten].sort().flatMap((site) => this.#marks.get(site) ?? []);
    await recordJournalMarks(trx, marks);
    return () => {
      for (const mark of marks) if (this.#marks.get(mark.site) === mark) this.#unwritten.delete(mark.site);
    };
  }

  #keep(mark: JournalMark): void {
    const before = this.#marks.get(mark.site);
    if (before !== undefined && isSame(before, mark)) return;
    this.#marks.set(mark.site, mark);
    this.#unwritten.add(mark.site);
  }
}

const isSame = (one: JournalMark, other: JournalMark): boolean =>
  one.journal === other.journal &&
  one.run === other.run &&
  one.writes === other.writes &&
  one.answered === other.answered;

/** The trouble with a journal, given the last account of it; undefined for none. */
function troubleOf(journal: JournalState, heard: JournalMark | undefined): string | undefined {
  if (heard === undefined) return undefined;
  if (heard.journal !== journal.id) return 'its journal was lost or replaced: an earlier one is on record';
  const run = journal.runs.find(({ token }) => token === heard.run);
  if (run === undefined) return 'its journal is an older copy: it does not contain the last recorded run of the agent';
  // A heartbeat of the run that goes on may have left before an answer did: only heartbeats come one after another.
  const hasEnded = journal.runs.at(-1)?.token !== heard.run;
  const writes = hasEnded && heard.answered > heard.writes ? heard.answered : heard.writes;
  if (run.writes < writes)
    return `its journal is an older copy: it has ${run.writes} writes of a run that had ${writes} when it was heard last`;
  return undefined;
}
