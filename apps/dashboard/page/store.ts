/** The state of the page, and the one way in which it changes by what the local server says. Pure. */
import type { Entry, Group, Head, Link, Operation, Site, Update, Viewer } from '../src/model/entries.ts';

/** The way to the local server. */
export type Contact =
  /** Nothing was heard yet. */
  | 'opening'
  | 'open'
  /** It is silent: its process has ended, or the way there is cut. */
  | 'silent'
  /** It knows no session of this page. */
  | 'refused';

export interface State {
  readonly contact: Contact;
  /** When the last event came, by the clock of the page. */
  readonly heardMs: number;
  /** How many events came. */
  readonly heard: number;
  /** How far the clock of the local server is ahead. */
  readonly aheadMs: number;
  readonly link: Link | undefined;
  readonly viewer: Viewer | undefined;
  readonly entries: ReadonlyMap<string, Entry>;
  /** Changes while the page was open, newest first. */
  readonly news: readonly News[];
}

export interface News {
  readonly at: number;
  readonly text: string;
  readonly isBad: boolean;
}

const NEWS_MAX = 30;

export const EMPTY: State = {
  contact: 'opening',
  heardMs: 0,
  heard: 0,
  aheadMs: 0,
  link: undefined,
  viewer: undefined,
  entries: new Map(),
  news: [],
};

/** The state after an update that came at `nowMs` by the clock of the page. */
export function applied(state: State, update: Update, nowMs: number): State {
  const entries = new Map(update.isWhole ? [] : state.entries);
  for (const key of update.drop) entries.delete(key);
  for (const [key, entry] of Object.entries(update.put)) entries.set(key, entry);
  // The first answer is not news, and neither is the same state over another connection.
  const isFirst = state.link?.heardAt === undefined;
  const told = isFirst ? [] : [...linkNews(state.link, update.link), ...entryNews(state.entries, entries)];
  const news = [...told.map((one) => ({ ...one, at: update.now })), ...state.news].slice(0, NEWS_MAX);
  return {
    contact: 'open',
    heardMs: nowMs,
    heard: state.heard + 1,
    aheadMs: update.now - nowMs,
    link: update.link,
    viewer: update.viewer ?? state.viewer,
    entries,
    news,
  };
}

type Told = Omit<News, 'at'>;

function linkNews(before: Link | undefined, after: Link): Told[] {
  if (before === undefined || before.state === after.state) return [];
  return after.state === 'lost'
    ? [{ text: `The coordinator does not answer: ${after.error?.message ?? ''}`, isBad: true }]
    : [{ text: 'The coordinator answers again', isBad: false }];
}

function entryNews(before: ReadonlyMap<string, Entry>, after: ReadonlyMap<string, Entry>): Told[] {
  return [...after].flatMap(([key, entry]) => {
    const old = before.get(key);
    return old === entry ? [] : changeOf(old, entry);
  });
}

function changeOf(before: Entry | undefined, after: Entry): Told[] {
  if (after.kind === 'site') {
    const was = (before as Site | undefined)?.state;
    if (was === after.state || was === undefined) return [];
    return [{ text: `Site ${after.name} is ${after.state}`, isBad: after.state !== 'up' }];
  }
  if (after.kind === 'group') {
    const was = before as Group | undefined;
    if (was === undefined) return [{ text: `Group ${after.name} is new`, isBad: false }];
    return [
      ...(was.activeSite === after.activeSite
        ? []
        : [
            {
              text: `Site ${after.activeSite || 'none'} is active in group ${after.name}`,
              isBad: after.activeSite === '',
            },
          ]),
      ...(was.protection === after.protection
        ? []
        : [{ text: `Group ${after.name} is ${after.protection}`, isBad: after.rank > was.rank }]),
    ];
  }
  if (after.kind !== 'operation' || after.what === 'capture' || after.what === 'replication') return [];
  const was = (before as Operation | undefined)?.status;
  if (was === after.status) return [];
  const verb =
    was === undefined && after.status === 'open'
      ? 'has begun'
      : after.status === 'open'
        ? 'goes on'
        : `is ${after.status}`;
  return [{ text: `The ${after.what} of group ${after.group} ${verb}`, isBad: /failed|parked/.test(after.status) }];
}

export const headOf = ({ entries }: State): Head | undefined => entries.get('head') as Head | undefined;

const ofKind = <Kind extends Entry['kind']>(state: State, kind: Kind): Extract<Entry, { kind: Kind }>[] =>
  [...state.entries.values()].filter((entry): entry is Extract<Entry, { kind: Kind }> => entry.kind === kind);

export const sitesOf = (state: State): Site[] =>
  ofKind(state, 'site').sort((one, other) => (one.name < other.name ? -1 : 1));

/** The worst first; groups that are equally well stay in the order of their names, so that rows do not move about. */
export const groupsOf = (state: State): Group[] =>
  ofKind(state, 'group').sort((one, other) => other.rank - one.rank || (one.name < other.name ? -1 : 1));

/** The newest first. */
export const operationsOf = (state: State): Operation[] =>
  ofKind(state, 'operation').sort((one, other) => other.created - one.created || (one.id < other.id ? -1 : 1));

export const groupNamed = ({ entries }: State, name: string): Group | undefined =>
  entries.get(`group/${name}`) as Group | undefined;

/** Whether what is shown is of now. If not, no green on the page means anything. */
export const isOfNow = ({ contact, link }: State): boolean => contact === 'open' && link?.state === 'live';

/** When what is shown was true, by the clock of the local server; undefined while nothing was heard. */
export const shownAt = ({ link }: State): number | undefined => link?.heardAt;
