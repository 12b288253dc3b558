/** One group, looked at closely. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { Group, GroupDetail, Seat, Site, Viewer } from '../src/model/entries.ts';
import { drillTable, operationTable } from './lists.ts';
import { dot, head, roleMark, scrolling } from './marks.ts';
import type { Request } from './order.ts';
import { groupNamed, type State, sitesOf } from './store.ts';
import { timeline } from './timeline.ts';
import { age, plural, severityOf } from './words.ts';

export interface GroupOptions {
  readonly name: string;
  readonly nowMs: number;
  readonly detail: GroupDetail | undefined;
  /** Why the detail is old, or was never there. */
  readonly trouble: string;
  readonly ask: (request: Request) => void;
}

export function groupView(state: State, options: GroupOptions): TemplateResult {
  const group = groupNamed(state, options.name);
  if (group === undefined)
    return html`<h1>There is no group ${options.name}</h1><p><a href="#/">Back to the fleet</a></p>`;
  const { nowMs, detail, trouble } = options;
  return html`
    <p class="back"><a href="#/">Fleet</a></p>
    <div class="title">
      <h1 data-severity=${severityOf(group.rank)}>${group.name} <span class="title-state">${dot(severityOf(group.rank))}${group.protection}</span></h1>
      ${actions(group, state.viewer, options)}
    </div>
    ${trouble === '' ? nothing : html`<p class="trouble">${trouble}</p>`}
    ${detail === undefined || detail.troubles.length === 0 ? nothing : troubles(detail.troubles)}
    <div class="columns">
      <section aria-labelledby="why-title">
        <h2 id="why-title">Who is active, and why</h2>
        ${(detail?.why ?? []).map((line) => html`<p>${line}</p>`)}
        ${detail === undefined || detail.leaseEndsAt <= nowMs ? nothing : html`<p>Its lease holds for another ${age(detail.leaseEndsAt - nowMs)}, and is renewed all the time.</p>`}
        ${facts(group, nowMs)}
      </section>
      <section aria-labelledby="seats-title">
        <h2 id="seats-title">Seats, and what sites see of each other</h2>
        ${seatTable(group, sitesOf(state), nowMs)}
      </section>
    </div>
    <section aria-labelledby="line-title">
      <h2 id="line-title">Generations and acknowledgements</h2>
      ${detail === undefined ? html`<p class="none">Asking.</p>` : timeline(detail.line, memberSites(group))}
    </section>
    <section aria-labelledby="group-drills">
      <h2 id="group-drills">Drills</h2>
      ${detail === undefined ? html`<p class="none">Asking.</p>` : drillTable(detail.drills, nowMs)}
    </section>
    <section aria-labelledby="group-operations">
      <h2 id="group-operations">Operations</h2>
      ${detail === undefined ? html`<p class="none">Asking.</p>` : operationTable(detail.operations, nowMs)}
    </section>
  `;
}

const memberSites = ({ seats }: Group): string[] =>
  seats.filter(({ role }) => role !== 'witness' && role !== 'joining').map(({ site }) => site);

const troubles = (lines: readonly string[]): TemplateResult => html`
  <ul class="troubles">${lines.map((line) => html`<li>${line}</li>`)}</ul>
`;

function actions(group: Group, viewer: Viewer | undefined, { ask }: GroupOptions): TemplateResult {
  const targets = group.seats.filter(({ role }) => role === 'standby').map(({ site }) => site);
  const mayOrder = viewer?.mayOrder === true;
  const to = (): string => (document.getElementById('target') as HTMLSelectElement | null)?.value ?? '';
  const wish = (kind: Request['kind']) => () => ask({ kind, group: group.name, to: kind === 'drill' ? '' : to() });
  return html`
    <div class="actions" role="group" aria-label="Orders">
      <label>to <select id="target"><option value="">the best standby</option>${targets.map((site) => html`<option>${site}</option>`)}</select></label>
      <button type="button" @click=${wish('switchover')}>${mayOrder ? 'Switch over' : 'Plan a switchover'}</button>
      <button type="button" @click=${wish('failover')}>${mayOrder ? 'Fail over' : 'Plan a failover'}</button>
      ${mayOrder ? orders(group, wish) : nothing}
    </div>
  `;
}

const orders = (group: Group, wish: (kind: Request['kind']) => () => void): TemplateResult => html`
  <button type="button" @click=${wish('drill')}>Drill</button>
  ${group.pause === undefined ? html`<button type="button" @click=${wish('pause')}>Pause</button>` : html`<button type="button" @click=${wish('resume')}>Resume</button>`}
`;

function facts(group: Group, nowMs: number): TemplateResult {
  const { generation, objects, keys, recoveryPointAt, rpoMs, lastProven, policy, pause } = group;
  const all: readonly (readonly [string, string])[] = [
    ['Newest generation', generation === undefined ? 'none' : `${generation}, with ${plural(objects ?? 0, 'object')}`],
    ['Keys not protected', keys === undefined ? 'not known' : `${keys.not} of ${keys.protected + keys.not}`],
    [
      'Recovery point',
      `${recoveryPointAt === undefined ? 'none' : `${age(nowMs - recoveryPointAt)} old`}, objective ${age(rpoMs)}`,
    ],
    ['Last proven', lastProven === undefined ? 'never' : `${age(nowMs - lastProven)} ago`],
    ['Failover', policy],
    ...(pause === undefined
      ? []
      : [
          [
            'Paused',
            `for ${age(nowMs - pause.since)} by ${pause.operator}${pause.reason === '' ? '' : `: ${pause.reason}`}`,
          ] as const,
        ]),
  ];
  return html`<dl class="facts">${all.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function seatTable({ seats }: Group, sites: readonly Site[], nowMs: number): TemplateResult {
  return scrolling(
    'Seats',
    html`
      <table class="seats">
        ${head('Site', 'Role', 'State', '#Generation', 'Seen by others')}
        <tbody>${seats.map((seat) =>
          seatRow(
            seat,
            sites.find(({ name }) => name === seat.site),
            nowMs,
          ),
        )}</tbody>
      </table>
    `,
  );
}

function seatRow(
  { site, role, siteState, acknowledged, behind = 0, error }: Seat,
  seen: Site | undefined,
  nowMs: number,
): TemplateResult {
  const isDown = siteState !== 'up';
  return html`
    <tr>
      <th scope="row">${site}</th>
      <td>${roleMark(role, isDown)} ${role}</td>
      <td>${isDown ? html`${dot('act')}${siteState}` : siteState}${error === '' ? nothing : html` <code>${error}</code>`}</td>
      <td class="number">${acknowledged ?? '-'}${behind > 0 ? html`<span class="aside">${behind} behind</span>` : nothing}</td>
      <td>${observations(seen, nowMs)}</td>
    </tr>
  `;
}

function observations(site: Site | undefined, nowMs: number): TemplateResult {
  if (site === undefined || site.observations.length === 0) return html`<span class="none">no reports</span>`;
  return html`${site.observations.map(
    ({ observer, reached, since }) =>
      html`<span class="seen" data-reached=${reached ? 'yes' : 'no'}>${observer} ${reached ? 'reaches it' : 'does not reach it'} (${age(nowMs - since)})</span> `,
  )}`;
}
