/**
 * Reads the journals of all agents behind their backs, ten times a second: who is active under which epoch, and who
 * captures. Two members are active at once where one epoch has two, and where one captures under an epoch while another
 * is active under a higher one (I1).
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '@antipode/runtime';

const POLL_MS = 100;

interface Seat {
  readonly isActive: boolean;
  readonly epoch: bigint;
  readonly captured: string;
}

export class JournalWatch {
  readonly #folders: ReadonlyMap<string, string>;
  readonly #open = new Map<string, DatabaseSync>();
  readonly #tell: (text: string) => void;
  readonly #stop = new AbortController();
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
      if (twin !== undefined) this.#violation(`sites ${site} and ${twin[0]} are active under epoch ${epoch}`);
    }
    for (const [site, seat] of active) {
      const before = this.#before.get(site);
      const hasCaptured = before?.isActive === true && before.captured !== seat.captured;
      const later = active.find(([other, { epoch }]) => epoch > seat.epoch && this.#before.get(other)?.epoch === epoch);
      if (hasCaptured && later !== undefined)
        this.#violation(
          `site ${site} captures under epoch ${seat.epoch}, and ${later[0]} is active under a higher one`,
        );
    }
    this.#before = now;
  }

  /** None while the journal cannot be read: it is looked at again at once. */
  #seats(site: string): Seat[] {
    try {
      const database =
        this.#open.get(site) ?? new DatabaseSync(join(this.#folders.get(site)!, 'journal.db'), { readOnly: true });
      this.#open.set(site, database);
      const row = database
        .prepare(
          `SELECT member.role, fence.epoch, head.digest FROM member JOIN fence ON fence.grp = member.grp
           LEFT JOIN head ON head.grp = member.grp AND head.serial = member.serial AND head.kind = 'captured'`,
        )
        .get();
      if (row === undefined) return [];
      return [
        { isActive: row['role'] === 'active', epoch: BigInt(row['epoch'] as number), captured: String(row['digest']) },
      ];
    } catch {
      this.#open.get(site)?.close();
      this.#open.delete(site);
      return [];
    }
  }

  #violation(text: string): void {
    this.twoActives += 1;
    this.#tell(`VIOLATION two active members: ${text}`);
  }
}
