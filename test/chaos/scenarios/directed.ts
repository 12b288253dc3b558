/**
 * Stories that somebody wrote: the disturbances that a rule was made for, in the order that tries it. The seed still
 * decides chance: latencies, order, and which call is hit.
 */
import { type Act, SITES, type Story, storyOf } from './story.ts';
import { DISTURBANCES } from './written/disturbances.ts';
import { RULES } from './written/rules.ts';
import type { WrittenStories } from './written/written.ts';

const DIRECTED: WrittenStories = { ...DISTURBANCES, ...RULES };

export const DIRECTED_NAMES: readonly string[] = Object.keys(DIRECTED);

/** @throws if nobody wrote one of this name */
export function directedStory(name: string, seed: string): Story {
  const written = DIRECTED[name];
  if (written === undefined) throw new Error(`no story is named ${name}`);
  const { coordinators = ['one'], witnesses = [], servesAt, acts, ...rest } = written;
  return {
    seed: `${name} ${seed}`,
    sites: SITES,
    witnesses,
    coordinators,
    ...rest,
    ...(servesAt === undefined ? {} : { servesAtMs: servesAt * 1_000 }),
    acts: acts.map(
      ([seconds, kind, at = '', { to = '', for: long = 0, value = 0 } = {}], id): Act => ({
        id,
        atMs: seconds * 1_000,
        kind,
        at,
        other: to,
        ms: long * 1_000,
        value,
      }),
    ),
  };
}

/** By a seed, or by the name of a story and a seed: `paused-active/3`. @throws if there is no such story */
export function storyNamed(text: string): Story {
  const [first = '', seed] = text.split('/');
  return seed === undefined ? storyOf(first) : directedStory(first, seed);
}
