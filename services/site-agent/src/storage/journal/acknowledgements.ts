/** The generation that each member of a group has acknowledged, as a coordinator last reported it to this site. */
import type { Statements } from './statements.ts';

/** Refused objects are ids in JSON. Epoch 0: nothing that counts. */
export const ACKNOWLEDGED =
  'CREATE TABLE acknowledged (grp TEXT, site TEXT, epoch INTEGER NOT NULL, number INTEGER NOT NULL, digest TEXT NOT NULL, refused TEXT NOT NULL, heard_ms INTEGER NOT NULL, PRIMARY KEY (grp, site)) STRICT';

export interface AcknowledgedThere {
  readonly site: string;
  /** 0 if the member has acknowledged nothing, or cannot serve. */
  readonly epoch: bigint;
  readonly number: bigint;
  readonly digest: string;
  /** Ids of objects that the member could not restore. */
  readonly refused: readonly string[];
  /** When the coordinator last said so, by the wall clock of this site. */
  readonly heardMs: number;
}

export class AcknowledgementRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  of(group: string): AcknowledgedThere[] {
    return this.#statements
      .all('SELECT * FROM acknowledged WHERE grp = ? ORDER BY site', group)
      .map(({ site, epoch, number, digest, refused, heard_ms }) => ({
        site: String(site),
        epoch: BigInt(epoch as number),
        number: BigInt(number as number),
        digest: String(digest),
        refused: JSON.parse(String(refused)) as string[],
        heardMs: Number(heard_ms),
      }));
  }

  /** All of them at once: whoever is not among them is not a member any more. */
  replace(group: string, members: readonly AcknowledgedThere[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM acknowledged WHERE grp = ?', group);
      for (const { site, epoch, number, digest, refused, heardMs } of members)
        this.#statements.run(
          'INSERT INTO acknowledged VALUES (?, ?, ?, ?, ?, ?, ?)',
          group,
          site,
          epoch,
          number,
          digest,
          JSON.stringify(refused),
          heardMs,
        );
    });
  }

  remove(group: string): void {
    this.#statements.run('DELETE FROM acknowledged WHERE grp = ?', group);
  }
}
