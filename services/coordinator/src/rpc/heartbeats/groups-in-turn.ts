/**
 * The groups that an answer to a heartbeat describes at length: who has acknowledged a generation, where clients must go,
 * and which manifests must stay. The agent keeps the last description of every other group. So a site with hundreds of
 * groups hears of all of them within some heartbeats, and at once of a group that has changed. Its answers stay short, and
 * within the limit of a message.
 */
import type { Group } from '../../model.ts';

/** A site with fewer groups hears of all of them each time. */
const GROUPS_MAX = 64;

interface Told {
  /** The process of the agent: a new one knows nothing yet. */
  readonly instance: string;
  /** Each group as it was in the last answer that described it. */
  readonly groups: Map<string, Group>;
  next: number;
}

export class GroupsInTurn {
  readonly #told = new Map<string, Told>();

  /** Those that the site has not heard of as they are, then the others in turn. */
  of(
    { site, instance }: { readonly site: string; readonly instance: string },
    groups: readonly Group[],
  ): readonly Group[] {
    if (groups.length <= GROUPS_MAX) return groups;
    let told = this.#told.get(site);
    if (told === undefined || told.instance !== instance) {
      told = { instance, groups: new Map(), next: 0 };
      this.#told.set(site, told);
    }
    const { groups: known, next } = told;
    const isNews = (group: Group): boolean => known.get(group.spec.name) !== group;
    const news = groups.filter(isNews).slice(0, GROUPS_MAX);
    const chosen = new Set(news);
    let at = next;
    for (let count = 0; count < groups.length && chosen.size < GROUPS_MAX; count += 1, at += 1)
      chosen.add(groups[at % groups.length]!);
    told.next = at % groups.length;
    for (const group of chosen) known.set(group.spec.name, group);
    return [...chosen];
  }
}
