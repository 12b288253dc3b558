/** The places where clients of each group must go, as a coordinator last reported them to this site. */
import { type KnownPlace, KnownPlaceSchema } from '@antipode/protocol';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Statements } from './statements.ts';

export class PlaceRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  all(): KnownPlace[] {
    return this.#statements
      .all('SELECT place FROM known_place ORDER BY grp')
      .map((row) => fromBinary(KnownPlaceSchema, row['place'] as Uint8Array));
  }

  remove(group: string): void {
    this.#statements.run('DELETE FROM known_place WHERE grp = ?', group);
  }

  record(place: KnownPlace): void {
    this.#statements.run(
      'INSERT INTO known_place VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET place = excluded.place',
      place.group,
      toBinary(KnownPlaceSchema, place),
    );
  }
}
