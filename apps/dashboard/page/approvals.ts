/** Approvals on record: what they allow, who has signed, and the way to sign. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { ApprovalEntry, Viewer } from '../src/model/entries.ts';
import { dot } from './marks.ts';
import type { Request } from './order.ts';
import { age } from './words.ts';

export interface ApprovalsOptions {
  readonly nowMs: number;
  readonly viewer: Viewer | undefined;
  readonly ask: (request: Request) => void;
}

export function approvalsView(
  approvals: readonly ApprovalEntry[] | undefined,
  options: ApprovalsOptions,
): TemplateResult {
  const approver = options.viewer?.approver ?? '';
  return html`
    <h1>Approvals</h1>
    ${approver === '' ? html`<p class="none">This dashboard has no key to sign with. Start it with <code>--approve-as</code> and <code>--approve-key</code>, or use <code>antipode approve sign</code>.</p>` : nothing}
    ${
      approvals === undefined
        ? html`<p class="none">Asking.</p>`
        : approvals.length === 0
          ? html`<p class="none">No approval is on record.</p>`
          : approvals.map((one) => approvalItem(one, options))
    }
  `;
}

function approvalItem(one: ApprovalEntry, { nowMs, viewer, ask }: ApprovalsOptions): TemplateResult {
  const { digest, spoken, group, requestedBy, required, lines, signers, expires, usedAt } = one;
  const others = signers.filter((name) => name !== requestedBy);
  const isOver = expires < nowMs;
  const approver = viewer?.approver ?? '';
  // Anybody can put a signature on record under any name, so one under this name does not end it.
  const maySign = viewer?.mayOrder === true && approver !== '' && !isOver;
  const again = signers.includes(approver) ? ' again' : '';
  return html`
    <article class="approval" data-digest=${digest}>
      <h2>${spoken}</h2>
      <ul class="consequences">${lines.map((line) => html`<li class="consequence">${line}</li>`)}</ul>
      <p>${dot(isOver ? 'look' : others.length >= required ? 'well' : 'look')}${others.length} of ${required} have signed${others.length === 0 ? '' : `: ${others.join(', ')}`}. ${isOver ? `Expired ${age(nowMs - expires)} ago` : `Expires in ${age(expires - nowMs)}`}.${usedAt.length === 0 ? '' : ` Used at ${usedAt.join(', ')}.`}</p>
      ${maySign ? html`<button type="button" @click=${() => ask({ kind: 'approve', group, digest })}>Sign as ${approver}${again}</button>` : nothing}
    </article>
  `;
}
