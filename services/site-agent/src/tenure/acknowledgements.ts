/**
 * The generations that the other members of each group have acknowledged, as the coordinator says with its heartbeats.
 * The commands of this site read them from the journal, with the time at which each was last heard. If the coordinator
 * says nothing of a member, the record of before stays, with its time.
 */
import type { MemberAcknowledgement } from '@antipode/protocol';
import { type Clock, hex } from '@antipode/runtime';
import type { AcknowledgedThere } from '../storage/journal/acknowledgements.ts';
import type { Journal } from '../storage/journal/journal.ts';

/** Heartbeats come each second, and a journal is not written to each second. So each age is shown up to this much too long. */
const WRITE_AGAIN_MS = 60_000;

interface Written {
  readonly members: readonly AcknowledgedThere[];
  /** Monotonic. */
  readonly atMs: number;
}

export class Acknowledgements {
  readonly #journal: Pick<Journal, 'acknowledgements'>;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #written = new Map<string, Written>();

  constructor({ journal, name, clock }: { journal: Pick<Journal, 'acknowledgements'>; name: string; clock: Clock }) {
    this.#journal = journal;
    this.#name = name;
    this.#clock = clock;
  }

  /** @throws FILE_BUSY, FILE_UNWRITABLE */
  learn(group: string, said: readonly MemberAcknowledgement[]): void {
    const written = this.#written.get(group);
    const before = written?.members ?? this.#journal.acknowledgements.of(group);
    const heardMs = this.#clock.wallMs();
    const members = said
      .filter(({ site }) => site !== this.#name)
      .flatMap(({ site, isKnown, epoch, number, manifestDigest, refusedObjectIds }): AcknowledgedThere[] => {
        if (isKnown)
          return [{ site, epoch, number, digest: hex(manifestDigest), refused: [...refusedObjectIds].sort(), heardMs }];
        const known = before.find((one) => one.site === site);
        return known === undefined ? [] : [known];
      })
      .sort((one, other) => (one.site < other.site ? -1 : 1));
    const nowMs = this.#clock.monotonicMs();
    const isDue = written === undefined || nowMs - written.atMs >= WRITE_AGAIN_MS;
    if (!isDue && saidBy(members) === saidBy(before)) return;
    this.#journal.acknowledgements.replace(group, members);
    this.#written.set(group, { members, atMs: nowMs });
  }

  /** @throws FILE_BUSY, FILE_UNWRITABLE */
  forget(group: string): void {
    this.#journal.acknowledgements.remove(group);
    this.#written.delete(group);
  }
}

/** Without the times. */
const saidBy = (members: readonly AcknowledgedThere[]): string =>
  JSON.stringify(
    members.map(({ site, epoch, number, digest, refused }) => [site, String(epoch), String(number), digest, refused]),
  );
