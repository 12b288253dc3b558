/**
 * Reads the journals of all agents behind their backs, ten times a second: who is active under which epoch, and who
 * captures. Two members are active at once where one epoch has two, and where one captures under an epoch while another
 * is active under a higher one (I1). The checkers of the simulator judge the same journals, as far as they need nothing
 * else.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@antipode/runtime';
import { epochGrows } from '../checkers/epoch-grows.ts';
import { oneOwner } from '../checkers/one-owner.ts';

const POLL_MS = 100;

interface Seat {
  readonly isActive: boolean;
  readonly role: string;
  readonly epoch: bigint;
  readonly owner: string;
  readonly captured: string;
}

export class JournalWatch {
  readonly #folders: ReadonlyMap<string, string>;
  readonly #open = new Map<string, DatabaseSync>();
  readonly #tell: (text: string) => void;
  readonly #stop = new AbortController();
  readonly #checkers = [oneOwner(), epochGrows()];
  #before = new Map<string, Seat>();
  #running: Promise<void> | undefined;
  looks = 0;
  twoActives = 0;

  /** @param folders data folder of each site's agent */
  constructor(folders: ReadonlyMap<string, string>, tell: (text: string) => void) {
    this.#folders = folders;
    this.#tell = tell;
  }

  start(): void {
    this.#running = this.#watch();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    for (const database of this.#open.values()) database.close();
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#look();
      await systemClock.sleep(POLL_MS, this.#stop.signal);
    }
  }

  #look(): void {
    const now = new Map([...this.#folders.keys()].flatMap((site) => this.#seats(site).map((seat) => [site, seat])));
    this.looks += 1;
    const active = [...now].filter(([, { isActive }]) => isActive);
    for (const [index, [site, { epoch }]] of active.entries()) {
      const twin = active.slice(index + 1).find(([, other]) => other.epoch === epoch);
      if (twin !== undefined) this.#violation(`two active members: sites ${site} and ${twin[0]} under epoch ${epoch}`);
    }
    for (const [site, seat] of active) {
      const before = this.#before.get(site);
      const hasCaptured = before?.isActive === true && before.captured !== seat.captured;
      const later = active.find(([other, { epoch }]) => epoch > seat.epoch && this.#before.get(other)?.epoch === epoch);
      if (hasCaptured && later !== undefined)
        this.#violation(
          `two active members: site ${site} captures under epoch ${seat.epoch}, and ${later[0]} is active under a higher one`,
        );
    }
    this.#check(now);
    this.#before = now;
  }

  #check(now: ReadonlyMap<string, Seat>): void {
    const members = [...now].map(([site, seat]) => ({ site, ...seat, leaseMs: 0 }));
    for (const { site, epoch, owner } of members) {
      const before = this.#before.get(site);
      if (before?.epoch === epoch && before.owner === owner) continue;
      for (const checker of this.#checkers) {
        const wrong = checker.look({ kind: 'journal', site }, { members, voters: members });
        if (wrong !== undefined) this.#violation(wrong);
      }
    }
  }

  /** None while the journal cannot be read: it is looked at again at once. */
  #seats(site: string): Seat[] {
    try {
      const database =
        this.#open.get(site) ?? new DatabaseSync(join(this.#folders.get(site)!, 'journal.db'), { readOnly: true });
      this.#open.set(site, database);
      const row = database
        .prepare(
          `SELECT member.role, fence.epoch, fence.owner, head.digest FROM member JOIN fence ON fence.grp = member.grp
           LEFT JOIN head ON head.grp = member.grp AND head.serial = member.serial AND head.kind = 'captured'`,
        )
        .get();
      if (row === undefined) return [];
      return [
        {
          isActive: row['role'] === 'active',
          role: String(row['role']),
          epoch: BigInt(row['epoch'] as number),
          owner: String(row['owner']),
          captured: String(row['digest']),
        },
      ];
    } catch {
      this.#open.get(site)?.close();
      this.#open.delete(site);
      return [];
    }
  }

  #violation(text: string): void {
    this.twoActives += 1;
    this.#tell(`VIOLATION ${text}`);
  }
}
