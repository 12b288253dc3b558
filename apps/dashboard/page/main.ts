/** The page: hears the local server, draws, and follows the address. Time comes from here and nowhere else. */
import { html, render, type TemplateResult } from 'lit-html';
import { hear, openSession } from './feed.ts';
import { fleet } from './fleet.ts';
import { closedDoor, placeFrom, shell } from './shell.ts';
import { applied, EMPTY, type State } from './store.ts';

/** The server sends something every half second, or says why not. After this, it says nothing. */
const SILENT_MS = 3_000;
/** How often ages are counted while nothing is heard. */
const TICK_MS = 1_000;

const root = document.getElementById('app')!;
const announcer = document.getElementById('news')!;
let state: State = EMPTY;
let filter = '';
let announced = 0;

function draw(): void {
  if (state.contact === 'refused') {
    render(closedDoor(), root);
    return;
  }
  const nowMs = Date.now() + state.aheadMs;
  const place = placeFrom(location.hash);
  render(shell(state, { place, nowMs, content: contentOf(place, nowMs) }), root);
  announce();
}

function contentOf({ view }: { view: string }, nowMs: number): TemplateResult {
  if (view === 'fleet') return fleet(state, { nowMs, filter, setFilter });
  return html`<h1>There is no such view</h1><p><a href="#/">Back to the fleet</a></p>`;
}

function setFilter(text: string): void {
  filter = text;
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
  if (state.contact === 'open' && Date.now() - state.heardMs > SILENT_MS) state = { ...state, contact: 'silent' };
  draw();
}

function moved(): void {
  draw();
  document.getElementById('main')?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** `/` goes to the search, as people expect. */
function pressed(event: KeyboardEvent): void {
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
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
