/**
 * The memory of this site that must survive any crash, in parts: identities, domain keys, the highest epoch of each group,
 * seats, heads, open apply intents. SQLite in WAL mode with synchronous=FULL: a write is durable when its method returns
 * (facts: control-plane, A1).
 */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { type AntipodeError, type Clock, type Prng, systemPrng } from '@antipode/runtime';
import { type Connect, IN_MEMORY, openDatabase, untilWritable, writeFault } from '../database.ts';
import { AcknowledgementRecords } from './acknowledgements.ts';
import { ApprovalRecords } from './approvals.ts';
import { CollectionRecords } from './collection.ts';
import { DecisionRecords } from './decisions.ts';
import { DomainKeyRecords } from './domain-keys.ts';
import { DrillRecords } from './drills.ts';
import { FindingRecords } from './findings.ts';
import { HeadRecords } from './heads.ts';
import { type JournalAccount, JournalHistory, type JournalMark } from './history.ts';
import { IdentityRecords } from './identities.ts';
import { IntentRecords } from './intents.ts';
import { PlaceRecords } from './places.ts';
import { SCHEMA, SCHEMA_VERSION, UPGRADES } from './schema.ts';
import { SiteName } from './site-name.ts';
import { Statements } from './statements.ts';
import { TenureRecords } from './tenure.ts';
import { TermRecords } from './terms.ts';

export class Journal {
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  readonly #history: JournalHistory;
  #fault: AntipodeError | undefined;
  readonly identities: IdentityRecords;
  readonly domainKeys: DomainKeyRecords;
  readonly tenure: TenureRecords;
  readonly terms: TermRecords;
  readonly heads: HeadRecords;
  readonly intents: IntentRecords;
  readonly findings: FindingRecords;
  readonly decisions: DecisionRecords;
  readonly drills: DrillRecords;
  readonly places: PlaceRecords;
  readonly acknowledgements: AcknowledgementRecords;
  readonly siteName: SiteName;
  readonly approvals: ApprovalRecords;
  /** The records of the collector. */
  readonly collection: CollectionRecords;

  private constructor({ path, database, prng }: { path: string; database: DatabaseSync; prng: Prng }) {
    this.#database = database;
    this.#history = new JournalHistory({ database, prng });
    const statements = new Statements({ database, path, history: this.#history });
    this.#statements = statements;
    this.identities = new IdentityRecords(statements);
    this.domainKeys = new DomainKeyRecords(statements);
    this.heads = new HeadRecords(statements);
    this.tenure = new TenureRecords({ statements, heads: this.heads });
    this.terms = new TermRecords(statements);
    this.intents = new IntentRecords({ statements, heads: this.heads });
    this.findings = new FindingRecords(statements);
    this.decisions = new DecisionRecords(statements);
    this.drills = new DrillRecords(statements);
    this.places = new PlaceRecords(statements);
    this.acknowledgements = new AcknowledgementRecords(statements);
    this.siteName = new SiteName(statements, { path });
    this.approvals = new ApprovalRecords(statements);
    this.collection = new CollectionRecords({ database, path, write: (work) => statements.transaction(work) });
  }

  /**
   * The journal in this folder; a new one where there is none.
   * @throws FILE_UNWRITABLE, FILE_BUSY, FILE_DAMAGED, and SITE_RENAMED if it belongs to a site other than `site`
   */
  static open(folder: string, { prng = systemPrng, site }: { prng?: Prng; site?: string } = {}): Journal {
    const journal = Journal.#at(join(folder, 'journal.db'), prng);
    try {
      if (site !== undefined) journal.siteName.check(site);
      return journal;
    } catch (thrown) {
      journal.close();
      throw thrown;
    }
  }

  /** A journal in memory, for simulations. */
  static inMemory({ prng, connect }: { prng: Prng; connect?: Connect }): Journal {
    return Journal.#at(IN_MEMORY, prng, connect);
  }

  static #at(path: string, prng: Prng, connect?: Connect): Journal {
    const database = openDatabase(path, { schema: SCHEMA, version: SCHEMA_VERSION, upgrades: UPGRADES, connect });
    return new Journal({ path, database, prng });
  }

  /**
   * Begins a run of the agent. A reader that hears of the run can tell this journal from an older copy. By the place of the
   * lock that the agent holds, it can tell that the run before has ended.
   */
  beginRun({ place = '' }: { place?: string } = {}): void {
    this.#history.place = place;
    this.#statements.transaction(() => {});
  }

  get account(): JournalAccount {
    return this.#history.account;
  }

  /** How far it has come in the run that is under way; undefined before that has begun. */
  get mark(): JournalMark | undefined {
    return this.#history.mark;
  }

  /** Why it could not be written to when it was last tried. */
  get fault(): AntipodeError | undefined {
    return this.#fault;
  }

  /** Tries it, and remembers the outcome for {@link fault}. */
  check(): AntipodeError | undefined {
    this.#fault = writeFault(this.#database);
    return this.#fault;
  }

  /** An order waits here before its writes, which themselves wait for nobody. @throws FILE_BUSY, FILE_UNWRITABLE */
  untilWritable(clock: Clock, signal?: AbortSignal): Promise<void> {
    return untilWritable(this.#database, { clock, signal });
  }

  close(): void {
    this.#database.close();
  }
}
