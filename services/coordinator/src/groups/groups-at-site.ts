/**
 * The groups of a site, and groups by name: every heartbeat asks for them. A long list of groups is indexed at its first
 * question. The cache makes a new list whenever it reads, so an index never outlives its list.
 */
import type { Group } from '../model.ts';

/** A shorter list is searched as fast as an index is made. */
const INDEXED_MIN = 16;

interface Index {
  readonly bySite: ReadonlyMap<string, readonly Group[]>;
  readonly names: ReadonlySet<string>;
}

const indexes = new WeakMap<readonly Group[], Index>();

/** Every group in which the site is named, in whatever part: member, joining, scratch or witness. In the order of the list. */
export const groupsAt = (groups: readonly Group[], site: string): readonly Group[] =>
  groups.length < INDEXED_MIN
    ? groups.filter((group) => sitesOf(group).has(site))
    : (indexOf(groups).bySite.get(site) ?? []);

export const isGroup = (groups: readonly Group[], name: string): boolean =>
  groups.length < INDEXED_MIN ? groups.some(({ spec }) => spec.name === name) : indexOf(groups).names.has(name);

function indexOf(groups: readonly Group[]): Index {
  const known = indexes.get(groups);
  if (known !== undefined) return known;
  const bySite = new Map<string, Group[]>();
  for (const group of groups) {
    for (const site of sitesOf(group)) {
      const there = bySite.get(site);
      if (there === undefined) bySite.set(site, [group]);
      else there.push(group);
    }
  }
  const made = { bySite, names: new Set(groups.map(({ spec }) => spec.name)) };
  indexes.set(groups, made);
  return made;
}

const sitesOf = ({ members, joining, spec }: Group): Set<string> =>
  new Set([...[...members, ...joining, ...spec.scratch].map(({ site }) => site), ...(spec.witnesses ?? [])]);
