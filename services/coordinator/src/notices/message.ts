/** One message of several notices: a storm is one digest. */
import { createHash } from 'node:crypto';
import type { MessagePlace, NoticeItem, NoticeMessage } from '../hooks/hook.ts';
import type { Told } from '../store/tables/notices.ts';
import { declarationOf, SEVERITIES } from './causes.ts';
import type { Notice } from './ledger.ts';

/** A person reads no more at once, and a mail or a pager takes no more. `antipode notify list` has all of them. */
export const ITEMS_MAX = 50;

export interface Due {
  readonly notice: Notice;
  readonly state: Told['state'];
}

/** The worst first; what is over last. */
export function messageOf(
  receiver: string,
  due: readonly Due[],
  { place, toWallMs }: { place: MessagePlace; toWallMs: (atMs: number) => number },
): NoticeMessage {
  const iso = (atMs: number | undefined): string =>
    atMs === undefined ? '' : new Date(Math.round(toWallMs(atMs))).toISOString();
  const rank = ({ notice, state }: Due): number =>
    SEVERITIES.indexOf(declarationOf(notice.kind).severity) + (state === 'resolved' ? SEVERITIES.length : 0);
  const ordered = [...due].sort((one, other) => rank(one) - rank(other) || one.notice.sinceMs - other.notice.sinceMs);
  const items = ordered.slice(0, ITEMS_MAX).map(({ notice, state }): NoticeItem => {
    const { severity, runbook } = declarationOf(notice.kind);
    const { id, kind, group, site, text } = notice;
    const since = iso(notice.sinceMs);
    const until = state === 'resolved' ? iso(notice.absentMs) : '';
    return { id, kind, state, severity, group, site, text, runbook, since, until };
  });
  const parts = ordered.map(({ notice, state }) => `${notice.id} ${state}`);
  const digest = createHash('sha256')
    .update([receiver, ...parts].join('\n'))
    .digest('hex')
    .slice(0, 32);
  return {
    type: 'notices',
    id: `notices/${receiver}/${digest}`,
    severity: severityOf(items),
    summary: summaryOf(items, ordered.length),
    notices: items,
    others: ordered.length - items.length,
    place,
  };
}

/** The worst of those that are not over. */
function severityOf(items: readonly NoticeItem[]): string {
  const raised = items.filter(({ state }) => state !== 'resolved').map(({ severity }) => severity);
  return SEVERITIES.find((severity) => raised.includes(severity)) ?? 'info';
}

function summaryOf(items: readonly NoticeItem[], count: number): string {
  const [first] = items;
  if (first === undefined) return '';
  const raised = items.filter(({ state }) => state !== 'resolved').length;
  if (count === 1) return `${first.state === 'resolved' ? 'Resolved: ' : ''}${first.text}`;
  const kinds = [...Map.groupBy(items, ({ kind }) => kind)].map(([kind, same]) => `${same.length} ${kind}`);
  const which = raised === 0 ? 'resolved notices' : 'notices';
  return `${count} ${which}: ${kinds.slice(0, 5).join(', ')}${kinds.length > 5 ? ', ...' : ''}`;
}

export const testMessage = (receiver: string, { id, now }: { id: string; now: string }): NoticeMessage => ({
  type: 'notices',
  id: `test/${receiver}/${id}`,
  severity: 'info',
  summary: 'A test. Nothing is wrong.',
  notices: [
    {
      id: `test@${id}`,
      kind: 'test',
      state: 'test',
      severity: 'info',
      group: '',
      site: '',
      text: 'A test. Nothing is wrong.',
      runbook: 'docs/howto/notifications.md',
      since: now,
      until: '',
    },
  ],
  others: 0,
});
