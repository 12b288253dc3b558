/** The dialog of an order: the consequences first, then the name is typed, then its course is shown. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { Operation, Plan, Told } from '../src/model/entries.ts';
import { dot } from './marks.ts';
import type { State } from './store.ts';
import { sentence } from './words.ts';

export interface Request {
  readonly kind: 'switchover' | 'failover' | 'drill' | 'pause' | 'resume' | 'approve';
  readonly group: string;
  /** A site; empty for the best one. */
  readonly to?: string;
  readonly digest?: string;
}

export type Ordering =
  | { readonly stage: 'asking'; readonly request: Request }
  | { readonly stage: 'refused'; readonly title: string; readonly told: Told }
  | { readonly stage: 'planned'; readonly plan: Plan; readonly draft: Draft; readonly told?: Told }
  | { readonly stage: 'ordered'; readonly plan: Plan; readonly operationId: string };

export interface Draft {
  readonly typed: string;
  readonly isAccepted: boolean;
  readonly reason: string;
  readonly isSending: boolean;
}

export const EMPTY_DRAFT: Draft = { typed: '', isAccepted: false, reason: '', isSending: false };

export interface OrderActions {
  readonly change: (draft: Partial<Draft>) => void;
  readonly send: () => void;
  readonly close: () => void;
}

/** Whether everything is given that the order needs. The local server looks again. */
export const isReady = ({ confirm, acceptance }: Plan, { typed, isAccepted, isSending }: Draft): boolean =>
  !isSending && (confirm === undefined || typed.trim() === confirm.name) && (acceptance === undefined || isAccepted);

export function orderDialog(ordering: Ordering | undefined, state: State, actions: OrderActions): TemplateResult {
  const title = ordering === undefined ? '' : titleOf(ordering);
  return html`
    <dialog id="order" aria-labelledby="order-title" @close=${actions.close}>
      <h2 id="order-title" class="dialog-title">${title}</h2>
      ${ordering === undefined ? nothing : bodyOf(ordering, state, actions)}
    </dialog>
  `;
}

function titleOf(ordering: Ordering): string {
  if (ordering.stage === 'asking') return 'Looking what it would do';
  return ordering.stage === 'refused' ? ordering.title : ordering.plan.title;
}

function bodyOf(ordering: Ordering, state: State, actions: OrderActions): TemplateResult {
  switch (ordering.stage) {
    case 'asking':
      return html`<p class="none">Asking the coordinator.</p>${closeOnly(actions)}`;
    case 'refused':
      return html`${toldText(ordering.told)}${closeOnly(actions)}`;
    case 'planned':
      return planned(ordering, actions);
    case 'ordered':
      return ordered(ordering, state, actions);
  }
}

function planned(
  { plan, draft, told }: Extract<Ordering, { stage: 'planned' }>,
  actions: OrderActions,
): TemplateResult {
  const { lines, mayOrder, whyNot } = plan;
  return html`
    <ul class="consequences">${lines.map((line) => html`<li class="consequence">${line}</li>`)}</ul>
    ${
      mayOrder
        ? orderForm(plan, draft, actions)
        : html`<p class="none">Nothing can be ordered here: ${whyNot}.</p>${closeOnly(actions)}`
    }
    ${told === undefined ? nothing : toldText(told)}
  `;
}

function orderForm(plan: Plan, draft: Draft, { change, send }: OrderActions): TemplateResult {
  const submit = (event: Event): void => {
    event.preventDefault();
    send();
  };
  const typed = ({ target }: Event): void => change({ typed: (target as HTMLInputElement).value });
  const accepted = ({ target }: Event): void => change({ isAccepted: (target as HTMLInputElement).checked });
  const { acceptance, confirm } = plan;
  return html`
    <form @submit=${submit}>
      ${acceptance === undefined ? nothing : html`<label class="accept"><input type="checkbox" .checked=${draft.isAccepted} @change=${accepted}><span>I accept that. ${acceptance}</span></label>`}
      ${confirm === undefined ? nothing : html`<label class="confirm"><span>${confirm.question}: <strong>${confirm.name}</strong></span><input type="text" id="typed" autocomplete="off" autocapitalize="off" spellcheck="false" .value=${draft.typed} @input=${typed}></label>`}
      ${plan.kind === 'pause' ? reasonField(draft, change) : nothing}
      <p class="buttons">
        <button type="submit" class="order" ?disabled=${!isReady(plan, draft)}>${plan.kind === 'approve' ? 'Sign' : 'Order it'}</button>
        ${cancelButton('Cancel')}
      </p>
    </form>
  `;
}

const reasonField = ({ reason }: Draft, change: OrderActions['change']): TemplateResult => {
  const typed = ({ target }: Event): void => change({ reason: (target as HTMLInputElement).value });
  return html`
    <label class="confirm">
      <span>Reason, for the next person who looks</span>
      <input type="text" id="reason" autocomplete="off" .value=${reason} @input=${typed}>
    </label>
  `;
};

function ordered(
  { plan, operationId }: Extract<Ordering, { stage: 'ordered' }>,
  state: State,
  actions: OrderActions,
): TemplateResult {
  const operation = state.entries.get(`operation/${operationId}`) as Operation | undefined;
  return html`
    <div role="status">
      ${operationId === '' ? html`<p>${dot('well')}Done.</p>` : operation === undefined ? html`<p>Ordered.</p>` : course(operation)}
    </div>
    ${plan.kind === 'failover' || plan.kind === 'switchover' ? html`<p class="none">It goes on even if this page is closed.</p>` : nothing}
    ${closeOnly(actions)}
  `;
}

function course({ phase, status, error, message, hint }: Operation): TemplateResult {
  const severity = status === 'done' ? 'well' : status === 'open' ? 'look' : 'act';
  return html`
    <p data-status=${status}>${dot(severity)}${status === 'open' ? `Under way: ${phase}` : `It is ${status}: ${phase}`}.</p>
    ${error === '' || status === 'done' ? nothing : toldText({ code: error, message: message.replace(`[${error}] `, ''), hint })}
  `;
}

const toldText = ({ code, message, hint }: Told): TemplateResult => html`
  <div class="told" role="alert"><p><code>${code}</code> ${sentence(message)}</p><p>${hint}</p></div>
`;

const cancelButton = (label: string): TemplateResult => {
  const close = ({ currentTarget }: Event): void => (currentTarget as HTMLElement).closest('dialog')!.close();
  return html`<button type="button" @click=${close}>${label}</button>`;
};

const closeOnly = (_actions: OrderActions): TemplateResult => html`<p class="buttons">${cancelButton('Close')}</p>`;
