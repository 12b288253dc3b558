/** Lists that several views show: operations and drills. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { Drill, Operation } from '../src/model/entries.ts';
import { dot, head, scrolling } from './marks.ts';
import { age, dateAndTime } from './words.ts';

const severityOf = ({ status }: Operation): string =>
  status === 'parked' || status === 'failed' ? 'act' : status === 'open' ? 'look' : 'well';

export function operationTable(operations: readonly Operation[], nowMs: number): TemplateResult {
  if (operations.length === 0) return html`<p class="none">None.</p>`;
  return scrolling(
    'Operations',
    html`
      <table class="operations">
        ${head('Operation', 'Group', 'Site', 'Phase', 'Status', '#Began')}
        <tbody>${operations.map((one) => operationRow(one, nowMs))}</tbody>
      </table>
    `,
  );
}

function operationRow(one: Operation, nowMs: number): TemplateResult {
  const { id, what, group, site, phase, status, error, message, hint, attempts, created } = one;
  const isBad = status === 'failed' || status === 'parked' || (status === 'open' && error !== '');
  return html`
    <tr data-operation=${id} data-status=${status}>
      <th scope="row">${what} <code>${id.slice(0, 8)}</code></th>
      <td><a href="#/group/${group}">${group}</a></td>
      <td>${site || '-'}</td>
      <td>${phase}</td>
      <td>${dot(severityOf(one))}${status}${status === 'open' && attempts > 1 ? `, attempt ${attempts}` : ''}</td>
      <td class="number">${age(nowMs - created)} ago</td>
    </tr>
    ${isBad ? html`<tr class="why"><td colspan="6"><code>${error}</code> ${message.replace(`[${error}] `, '')} ${hint === '' ? nothing : html`<span class="hint">${hint}</span>`}</td></tr>` : nothing}
  `;
}

export function drillTable(drills: readonly Drill[], nowMs: number): TemplateResult {
  if (drills.length === 0) return html`<p class="none">No drill is on record. Nothing was proved yet.</p>`;
  return scrolling(
    'Drills',
    html`
      <table class="drills">
        ${head('Drill', 'Group', 'Site', '#Generation', 'Result', '#Proved', '#Recovery', 'Evidence')}
        <tbody>${drills.map((one) => drillRow(one, nowMs))}</tbody>
      </table>
    `,
  );
}

function drillRow(one: Drill, nowMs: number): TemplateResult {
  const {
    id,
    group,
    site,
    vault,
    generation,
    passed,
    error,
    proved,
    failed,
    notExercised,
    started,
    recoveryMs,
    signer,
  } = one;
  const evidence = `/api/evidence?group=${encodeURIComponent(group)}&id=${encodeURIComponent(id)}`;
  return html`
    <tr data-drill=${id}>
      <th scope="row"><time title=${dateAndTime(started)}>${age(nowMs - started)} ago</time></th>
      <td><a href="#/group/${group}">${group}</a></td>
      <td>${site}${vault === '' ? nothing : html` (vault ${vault})`}</td>
      <td class="number">${generation}</td>
      <td>${dot(passed ? 'well' : 'act')}${passed ? 'passed' : html`failed <code>${error}</code>`}</td>
      <td class="number">${proved}${failed > 0 ? `, ${failed} failed` : ''}${notExercised > 0 ? html`<span class="aside">${notExercised} uses not tried</span>` : nothing}</td>
      <td class="number">${(recoveryMs / 1_000).toFixed(1)} s</td>
      <td>${signer === '' ? '-' : html`<a href=${evidence} download="drill-${id.slice(0, 8)}.json">signed</a> by <code title=${signer}>${signer.slice(0, 16)}</code>`}</td>
    </tr>
  `;
}
