/**
 * The site that a journal belongs to. Epochs, pins, acknowledgements and certificates bear its name. An agent under
 * another name would take the tenures of this site for those of a stranger.
 */
import { AntipodeError } from '@antipode/runtime';
import type { Statements } from './statements.ts';

export const SITE_NAME = 'CREATE TABLE site_name (name TEXT NOT NULL) STRICT';

export class SiteName {
  readonly #statements: Statements;
  readonly #path: string;

  constructor(statements: Statements, { path }: { path: string }) {
    this.#statements = statements;
    this.#path = path;
  }

  /** Undefined in a journal that no agent has begun with. In an older one the owner of an active seat tells it. */
  get recorded(): string | undefined {
    const row =
      this.#statements.get('SELECT name FROM site_name') ??
      this.#statements.get(
        "SELECT fence.owner AS name FROM member JOIN fence ON fence.grp = member.grp WHERE member.role = 'active'",
      );
    return row && String(row['name']);
  }

  /** @throws SITE_RENAMED if the journal belongs to a site of another name */
  check(site: string): void {
    const { recorded } = this;
    if (recorded === undefined || recorded === site) return;
    throw new AntipodeError(
      'SITE_RENAMED',
      `${this.#path} belongs to site ${recorded}, and the configuration names site ${site}`,
      {
        details: { path: this.#path, expected: recorded, found: site },
      },
    );
  }

  /** From now on the journal belongs to this site. @throws SITE_RENAMED, FILE_BUSY, FILE_UNWRITABLE */
  claim(site: string): void {
    this.check(site);
    if (this.#statements.get('SELECT name FROM site_name') === undefined)
      this.#statements.run('INSERT INTO site_name VALUES (?)', site);
  }
}
