/** The fleet at a glance: sites, and a map of groups and sites with the worst first. */
import { html, nothing, type TemplateResult } from 'lit-html';
import { guard } from 'lit-html/directives/guard.js';
import { repeat } from 'lit-html/directives/repeat.js';
import type { Group, Seat, Site } from '../src/model/entries.ts';
import { dot, roleMark, unseen } from './marks.ts';
import { groupsOf, type News, operationsOf, type State, sitesOf } from './store.ts';
import { age, plural, severityOf, severityOfSite, timeOfDay } from './words.ts';

export interface FleetOptions {
  readonly nowMs: number;
  /** Groups whose names or states contain it. */
  readonly filter: string;
  readonly setFilter: (text: string) => void;
}

export function fleet(state: State, { nowMs, filter, setFilter }: FleetOptions): TemplateResult {
  const all = groupsOf(state);
  const sites = sitesOf(state);
  const words = filter.trim().toLowerCase();
  const groups =
    words === '' ? all : all.filter((group) => `${group.name} ${group.protection} ${group.activeSite}`.includes(words));
  const open = operationsOf(state).filter(({ status }) => status === 'open' || status === 'parked');
  return html`
    <h1 class="unseen">Fleet</h1>
    <section class="sites" aria-labelledby="sites-title">
      <h2 id="sites-title">Sites</h2>
      <ul>
        ${repeat(
          sites,
          ({ name }) => name,
          (site) => siteTile(site, nowMs),
        )}
      </ul>
    </section>
    <section class="groups" aria-labelledby="groups-title">
      <div class="bar">
        <h2 id="groups-title">Groups</h2>
        ${finder(filter, setFilter)}
        <p class="count">${groups.length === all.length ? plural(all.length, 'group') : `${groups.length} of ${plural(all.length, 'group')}`}</p>
        ${legend()}
      </div>
      ${map(groups, sites, nowMs)}
    </section>
    <div class="beside">
      <section aria-labelledby="open-title">
        <h2 id="open-title">Under way</h2>
        ${
          open.length === 0
            ? html`<p class="none">Nothing.</p>`
            : html`<ul class="lines">${open
                .slice(0, 12)
                .map(
                  ({ what, group, site, phase, status, error }) =>
                    html`<li>${dot(status === 'parked' ? 'act' : 'well')}<span>${what} of <a href="#/group/${group}">${group}</a>${site === '' ? '' : ` at ${site}`}</span> <span class="phase">${phase}</span>${error === '' ? nothing : html` <code>${error}</code>`}</li>`,
                )}</ul>`
        }
      </section>
      <section aria-labelledby="news-title">
        <h2 id="news-title">Since this page is open</h2>
        ${newsList(state.news)}
      </section>
    </div>
  `;
}

const finder = (filter: string, setFilter: FleetOptions['setFilter']): TemplateResult => {
  const typed = ({ target }: Event): void => setFilter((target as HTMLInputElement).value);
  return html`
    <label class="find">
      <span>Find</span>
      <input id="find" type="search" autocomplete="off" spellcheck="false" .value=${filter} @input=${typed}>
    </label>
  `;
};

const newsList = (news: readonly News[]): TemplateResult =>
  news.length === 0
    ? html`<p class="none">Nothing has changed.</p>`
    : html`<ol class="lines">${news.slice(0, 12).map(({ at, text, isBad }) => html`<li>${dot(isBad ? 'act' : 'well')}<time>${timeOfDay(at)}</time> <span>${text}</span></li>`)}</ol>`;

const legend = (): TemplateResult => html`
  <p class="legend" aria-hidden="true">
    ${roleMark('active', false)} active ${roleMark('standby', false)} standby ${roleMark('fenced', false)} fenced ${roleMark('witness', false)} witness
  </p>
`;

function siteTile(site: Site, nowMs: number): TemplateResult {
  const { name, state, reason, since, heardAt, partitions, lost, isClaimedTwice } = site;
  const severity = severityOfSite(site);
  const broken = partitions.filter(({ error }) => error !== '');
  return html`
    <li class="site" data-severity=${severity} data-site=${name}>
      <p class="site-name">${dot(severity)}<strong>${name}</strong> <span class="state">${state}</span> <span class="for">for ${age(nowMs - since)}</span></p>
      <p class="site-more">${heardAt === undefined ? 'never heard' : html`heard ${age(nowMs - heardAt)} ago`}</p>
      ${state === 'up' || reason === '' ? nothing : html`<p class="site-why">${reason}</p>`}
      ${broken.map(({ name: partition, error }) => html`<p class="site-why">partition ${partition}: <code>${error}</code></p>`)}
      ${lost.map(({ serial, since: lostSince }) => html`<p class="site-why">the HSM of ${serial} has been gone for ${age(nowMs - lostSince)}</p>`)}
      ${isClaimedTwice ? html`<p class="site-why">a second agent claims to be this site</p>` : nothing}
    </li>
  `;
}

function map(groups: readonly Group[], sites: readonly Site[], nowMs: number): TemplateResult {
  // A site that has not been heard yet can have a seat all the same.
  const names = [
    ...new Set([...sites.map(({ name }) => name), ...groups.flatMap(({ seats }) => seats.map(({ site }) => site))]),
  ].sort();
  const key = names.join();
  // As a property, since the policy of the page permits no style in attributes.
  const widths = `--sites: ${names.length}; --site-width: max(60px, ${Math.max(0, ...names.map(({ length }) => length))}ch + 20px)`;
  return html`
    <table class="map" role="table" aria-labelledby="groups-title" .style=${widths}>
      <thead role="rowgroup">
        <tr role="row">
          <th role="columnheader" scope="col" class="name">Group</th>
          <th role="columnheader" scope="col" class="protection">State</th>
          ${names.map((name) => html`<th role="columnheader" scope="col" class="at-site">${name}</th>`)}
          <th role="columnheader" scope="col" class="number">Generation</th>
          <th role="columnheader" scope="col" class="number">Recovery point</th>
          <th role="columnheader" scope="col" class="number">Last proven</th>
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${repeat(
          groups,
          ({ name }) => name,
          (group) => guard([group, key, agesOf(group, nowMs)], () => row(group, names, nowMs)),
        )}
      </tbody>
    </table>
  `;
}

/** The parts of a row that change by time alone. */
function agesOf({ recoveryPointAt, lastProven }: Group, nowMs: number): string {
  return `${recoveryPointAt === undefined ? '' : age(nowMs - recoveryPointAt)} ${lastProven === undefined ? '' : age(nowMs - lastProven)}`;
}

function row(group: Group, names: readonly string[], nowMs: number): TemplateResult {
  const { name, protection, rank, generation, recoveryPointAt, rpoMs, lastProven, uncaptured, keys, pause, concerns } =
    group;
  const pointMs = recoveryPointAt === undefined ? undefined : nowMs - recoveryPointAt;
  const [concern] = concerns;
  return html`
    <tr role="row" data-group=${name} data-severity=${severityOf(rank)}>
      <th role="rowheader" scope="row" class="name"><a class="group-link" href="#/group/${name}">${name}</a></th>
      <td role="cell" class="protection">
        ${dot(severityOf(rank))}<span>${protection}</span>
        ${keys !== undefined && keys.not > 0 ? html`<span class="aside">${plural(keys.not, 'key')} not protected</span>` : uncaptured > 0 ? html`<span class="aside">${uncaptured} not captured</span>` : nothing}
        ${concern === undefined ? nothing : html`<span class="aside">${concern.code || concern.kind}${concern.site === '' ? '' : ` at ${concern.site}`}</span>`}
        ${pause === undefined ? nothing : html`<span class="aside">paused</span>`}
      </td>
      ${names.map((site) =>
        cell(
          site,
          group.seats.find((seat) => seat.site === site),
        ),
      )}
      <td role="cell" class="number" data-label="generation">${generation ?? '-'}</td>
      <td role="cell" class="number ${pointMs !== undefined && rpoMs > 0 && pointMs > rpoMs ? 'is-late' : ''}" data-label="recovery point">${pointMs === undefined ? 'none' : age(pointMs)}</td>
      <td role="cell" class="number" data-label="proven">${lastProven === undefined ? 'never' : age(nowMs - lastProven)}</td>
    </tr>
  `;
}

function cell(site: string, seat: Seat | undefined): TemplateResult {
  if (seat === undefined)
    return html`<td role="cell" class="at-site is-empty" data-site=${site}>${unseen('no seat')}</td>`;
  const { role, siteState, acknowledged, behind = 0, error } = seat;
  const isDown = siteState !== 'up';
  const said = `${role}${isDown ? `, site ${siteState}` : ''}${error === '' ? '' : `, ${error}`}${acknowledged === undefined ? '' : `, generation ${acknowledged}`}`;
  const shown =
    error !== ''
      ? '!'
      : behind > 0
        ? `−${behind}`
        : role === 'active' || role === 'standby'
          ? acknowledged === undefined
            ? '∅'
            : ''
          : '';
  return html`
    <td role="cell" class="at-site" data-site=${site} data-bad=${isDown || error !== '' ? '' : nothing} title=${said}>
      ${roleMark(role, isDown)}<span class="behind" aria-hidden="true">${shown}</span>${unseen(said)}
    </td>
  `;
}
