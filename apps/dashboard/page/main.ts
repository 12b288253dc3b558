/** The page: hears the local server, draws, and follows the address. Time comes from here and nowhere else. */
import { html, render, type TemplateResult } from 'lit-html';
import type { ApprovalEntry, Drill, GroupDetail, Operation, Plan } from '../src/model/entries.ts';
import { approvalsView } from './approvals.ts';
import { get, hear, openSession, post, Refusal } from './feed.ts';
import { fleet } from './fleet.ts';
import { groupView } from './group.ts';
import { drillTable, operationTable } from './lists.ts';
import { EMPTY_DRAFT, isReady, type Ordering, orderDialog, type Request } from './order.ts';
import { closedDoor, type Place, placeFrom, shell } from './shell.ts';
import { applied, EMPTY, type State } from './store.ts';
import { sentence } from './words.ts';

/** The server sends something every half second, or says why not. After this, it says nothing. */
const SILENT_MS = 3_000;
/** How often ages are counted while nothing is heard. */
const TICK_MS = 1_000;
/** A page that was drawn since needs no tick. Less than a tick, since timers are early and late. */
const UNDRAWN_MS = 900;
/** How often a closer look is taken again. */
const LOOK_MS = 2_000;

const root = document.getElementById('app')!;
const announcer = document.getElementById('news')!;
let state: State = EMPTY;
let filter = '';
let announced = 0;
let ordering: Ordering | undefined;
/** The answer to the closer look at the present place. */
let look:
  | { readonly path: string; readonly at: number; readonly answer?: unknown; readonly trouble: string }
  | undefined;
let isLooking = false;
let drawnMs = 0;

function draw(): void {
  drawnMs = Date.now();
  if (state.contact === 'refused') {
    render(closedDoor(), root);
    return;
  }
  const nowMs = Date.now() + state.aheadMs;
  const place = placeFrom(location.hash);
  const content = html`${contentOf(place, nowMs)}${orderDialog(ordering, state, { change, send, close: closed })}`;
  render(shell(state, { place, nowMs, content }), root);
  const dialog = document.getElementById('order') as HTMLDialogElement;
  if (ordering !== undefined && !dialog.open) dialog.showModal();
  if (ordering === undefined && dialog.open) dialog.close();
  document.title = `${place.view === 'group' ? `${place.name} · ` : ''}Antipode`;
  announce();
}

function contentOf(place: Place, nowMs: number): TemplateResult {
  const { viewer } = state;
  const path = pathOf(place);
  const [answer, trouble] = look?.path === path ? [look.answer, look.trouble] : [undefined, ''];
  switch (place.view) {
    case 'fleet':
      return fleet(state, { nowMs, filter, setFilter });
    case 'group':
      return groupView(state, { name: place.name, nowMs, detail: answer as GroupDetail | undefined, trouble, ask });
    case 'operations':
      return html`<h1>Operations</h1>${answer === undefined ? waiting(trouble) : operationTable(answer as Operation[], nowMs)}`;
    case 'drills':
      return html`<h1>Drills</h1>${answer === undefined ? waiting(trouble) : drillTable(answer as Drill[], nowMs)}`;
    case 'approvals':
      return approvalsView(answer as ApprovalEntry[] | undefined, { nowMs, viewer, ask });
    default:
      return html`<h1>There is no such view</h1><p><a href="#/">Back to the fleet</a></p>`;
  }
}

const waiting = (trouble: string): TemplateResult => html`<p class="none">${trouble === '' ? 'Asking.' : trouble}</p>`;

/** The question that the view of a place asks; empty where the stream says it all. */
function pathOf({ view, name }: Place): string {
  if (view === 'group') return `/api/group?name=${encodeURIComponent(name)}`;
  return ['operations', 'drills', 'approvals'].includes(view) ? `/api/${view}` : '';
}

/** Looks closer, one question at a time. An answer that fails leaves the one before in view. */
async function lookCloser(): Promise<void> {
  const path = pathOf(placeFrom(location.hash));
  const isFresh = look?.path === path && Date.now() - look.at < LOOK_MS;
  if (path === '' || isFresh || isLooking) return;
  isLooking = true;
  const before = look?.path === path ? look.answer : undefined;
  try {
    look = { path, at: Date.now(), answer: await get(path), trouble: '' };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    look = {
      path,
      at: Date.now(),
      answer: before,
      trouble: sentence(`what is below may be old: ${thrown.told.message}`),
    };
  } finally {
    isLooking = false;
  }
  draw();
}

function setFilter(text: string): void {
  filter = text;
  draw();
}

async function ask(request: Request): Promise<void> {
  ordering = { stage: 'asking', request };
  draw();
  try {
    const plan = await post<Plan>('/api/plan', request);
    ordering = { stage: 'planned', plan, draft: EMPTY_DRAFT };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    ordering = {
      stage: 'refused',
      title: `The ${request.kind} of group ${request.group} is not possible now`,
      told: thrown.told,
    };
  }
  draw();
  document.querySelector<HTMLElement>('#order input, #order button')?.focus();
}

function change(more: Partial<typeof EMPTY_DRAFT>): void {
  if (ordering?.stage !== 'planned') return;
  ordering = { ...ordering, draft: { ...ordering.draft, ...more } };
  draw();
}

async function send(): Promise<void> {
  if (ordering?.stage !== 'planned' || !isReady(ordering.plan, ordering.draft)) return;
  const { plan, draft } = ordering;
  change({ isSending: true });
  try {
    const { typed, isAccepted: acceptLoss, reason } = draft;
    const { operationId } = await post<{ operationId: string }>('/api/order', {
      plan: plan.id,
      typed,
      acceptLoss,
      reason,
    });
    ordering = { stage: 'ordered', plan, operationId };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    ordering = { stage: 'planned', plan, draft: { ...draft, isSending: false }, told: thrown.told };
  }
  draw();
}

function closed(): void {
  ordering = undefined;
  draw();
}

/** To screen readers, once, and only what has changed. */
function announce(): void {
  const fresh = state.news.filter(({ at }) => at > announced);
  if (fresh.length === 0) return;
  announced = fresh[0]!.at;
  announcer.textContent = fresh.map(({ text }) => `${text}.`).join(' ');
}

function tick(): void {
  const isSilent = state.contact === 'open' && Date.now() - state.heardMs > SILENT_MS;
  if (isSilent) state = { ...state, contact: 'silent' };
  // Each update draws as well.
  if (isSilent || Date.now() - drawnMs > UNDRAWN_MS) draw();
  void lookCloser();
}

function moved(): void {
  ordering = undefined;
  draw();
  void lookCloser();
  document.getElementById('main')?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** `/` goes to the search, as people expect. */
function pressed(event: KeyboardEvent): void {
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey) return;
  const find = document.getElementById('find');
  if (find === null) return;
  event.preventDefault();
  find.focus();
}

await openSession();
root.replaceChildren();
addEventListener('hashchange', moved);
addEventListener('keydown', pressed);
setInterval(tick, TICK_MS);
hear({
  update: (update) => {
    state = applied(state, update, Date.now());
    draw();
  },
  refused: () => {
    state = { ...state, contact: 'refused' };
    draw();
  },
});
draw();
void lookCloser();
