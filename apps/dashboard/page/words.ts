/** Times and states in words. Pure. */
import type { Site } from '../src/model/entries.ts';
import { groupsOf, headOf, type State, sitesOf } from './store.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `12 s`, `4 min`, `3 h`, `5 d`: an age that is looked at while it grows. */
export function age(ms: number): string {
  const value = Math.max(0, ms);
  if (value < 2 * MINUTE) return `${Math.floor(value / SECOND)} s`;
  if (value < 2 * HOUR) return `${Math.floor(value / MINUTE)} min`;
  if (value < 2 * DAY) return `${Math.floor(value / HOUR)} h`;
  return `${Math.floor(value / DAY)} d`;
}

/** `10:03:12`, in UTC as everywhere in Antipode. */
export const timeOfDay = (ms: number): string => new Date(ms).toISOString().slice(11, 19);

/** `2026-11-29 10:03:12`, in UTC. */
export const dateAndTime = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** How bad a group is, in three steps: what is well, what wants a look, what needs somebody now. */
export function severityOf(rank: number): 'well' | 'look' | 'act' {
  if (rank === 0) return 'well';
  return rank <= LOOK_RANK_MAX ? 'look' : 'act';
}

/** Up to `lagging`, what is promised is still there: partially-protected, failing, lagging. */
const LOOK_RANK_MAX = 3;

export function severityOfSite({ state, isClaimedTwice, lost, partitions }: Site): 'well' | 'look' | 'act' {
  if (state === 'down' || lost.length > 0 || isClaimedTwice) return 'act';
  return state !== 'up' || partitions.some(({ error }) => error !== '') ? 'look' : 'well';
}

export interface Verdict {
  readonly severity: 'well' | 'look' | 'act';
  /** The matter, in one sentence. */
  readonly text: string;
  readonly more: string;
}

/** The whole picture in a sentence: the first thing that somebody reads at night. */
export function verdict(state: State, nowMs: number): Verdict {
  const { contact, link } = state;
  const from =
    link?.heardAt === undefined
      ? 'Nothing is known yet.'
      : `This page shows how things were at ${timeOfDay(link.heardAt)} UTC, ${age(nowMs - link.heardAt)} ago. They may be different now.`;
  if (contact === 'silent') {
    return {
      severity: 'act',
      text: 'The dashboard on this machine does not answer.',
      more: `${from} Is \`antipode dashboard\` still running?`,
    };
  }
  if (link === undefined || link.state === 'connecting')
    return { severity: 'look', text: 'Asking the coordinator.', more: '' };
  if (link.state === 'lost') {
    const { message = '', hint = '' } = link.error ?? {};
    return { severity: 'act', text: 'The coordinator does not answer.', more: `${from} ${sentence(message)} ${hint}` };
  }
  return ofFleet(state);
}

function ofFleet(state: State): Verdict {
  const groups = groupsOf(state);
  const sites = sitesOf(state);
  const head = headOf(state);
  const acting = groups.filter(({ rank }) => severityOf(rank) === 'act');
  const looking = groups.filter(({ rank }) => severityOf(rank) === 'look');
  const down = sites.filter(({ state }) => state !== 'up');
  const siteText = down.map(({ name, state }) => `Site ${name} is ${state}.`).join(' ');
  const more = [
    ...(head?.troubles ?? []).map(sentence),
    ...(head?.isLeader === false ? ['This coordinator does not lead.'] : []),
    siteText,
  ];
  if (acting.length > 0) {
    const [worst] = acting;
    const text =
      acting.length === 1
        ? `Group ${worst!.name} is ${worst!.protection}.`
        : `${acting.length} of ${plural(groups.length, 'group')} need somebody now.`;
    return { severity: 'act', text, more: more.join(' ').trim() };
  }
  if (down.some(({ state }) => state === 'down') || (head?.troubles.length ?? 0) > 0)
    return {
      severity: 'act',
      text: siteText || 'The coordinator cannot plan.',
      more: more.slice(0, -1).join(' ').trim() || lookText(looking.length, groups.length),
    };
  if (looking.length > 0 || down.length > 0)
    return {
      severity: 'look',
      text: looking.length > 0 ? lookText(looking.length, groups.length) : siteText,
      more: looking.length > 0 ? more.join(' ').trim() : '',
    };
  if (groups.length === 0)
    return {
      severity: 'look',
      text: 'There is no group yet.',
      more: 'Nothing is protected. `antipode group create` declares the first one.',
    };
  return {
    severity: 'well',
    text: groups.length === 1 ? `Group ${groups[0]!.name} is protected.` : `All ${groups.length} groups are protected.`,
    more: `${plural(sites.length, 'site')} up.`,
  };
}

const lookText = (count: number, all: number): string =>
  count === 0 ? '' : `${count} of ${plural(all, 'group')} ${count === 1 ? 'wants' : 'want'} a look.`;

export const sentence = (text: string): string =>
  text === '' ? '' : `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.?$/, '.')}`;
