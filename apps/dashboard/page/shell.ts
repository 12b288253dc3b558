/** The frame of every view: the way about, whether the page is of now, and the verdict. */
import { html, nothing, type TemplateResult } from 'lit-html';
import { dot } from './marks.ts';
import { headOf, isOfNow, type State, shownAt } from './store.ts';
import { age, timeOfDay, verdict } from './words.ts';

export interface Place {
  readonly view: string;
  readonly name: string;
}

const VIEWS = [
  ['fleet', 'Fleet'],
  ['operations', 'Operations'],
  ['drills', 'Drills'],
  ['approvals', 'Approvals'],
] as const;

/** `#/group/payments` */
export function placeFrom(hash: string): Place {
  const [view = '', name = ''] = hash.replace(/^#\/?/, '').split('/');
  return { view: view === '' ? 'fleet' : view, name: decodeURIComponent(name) };
}

export function shell(
  state: State,
  { place, nowMs, content }: { place: Place; nowMs: number; content: TemplateResult },
): TemplateResult {
  const { severity, text, more } = verdict(state, nowMs);
  const isNow = isOfNow(state);
  return html`
    <header class="top">
      ${brand()}
      <nav aria-label="Views">
        ${VIEWS.map(
          ([view, label]) =>
            html`<a href="#/${view === 'fleet' ? '' : view}" aria-current=${place.view === view || (view === 'fleet' && place.view === 'group') ? 'page' : nothing}>${label}</a>`,
        )}
      </nav>
      <p class="link" data-state=${isNow ? 'live' : 'old'}>${linkText(state, nowMs)}</p>
    </header>
    <section class="verdict" aria-label="In one sentence" data-severity=${severity} data-old=${isNow ? nothing : ''}>
      <p class="verdict-text">${dot(severity)}<span>${text}</span></p>
      ${more === '' ? nothing : html`<p class="verdict-more">${more}</p>`}
    </section>
    <main id="main" tabindex="-1" data-old=${isNow ? nothing : ''}>${content}</main>
    <footer class="foot">${footText(state)}</footer>
  `;
}

const brand = (): TemplateResult => html`
  <a class="brand" href="#/" aria-label="Antipode, the fleet">
    <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
      <circle class="brand-globe" cx="12" cy="12" r="9"></circle>
      <circle class="brand-here" cx="5.6" cy="5.6" r="3.2"></circle>
      <circle class="brand-there" cx="18.4" cy="18.4" r="2.6"></circle>
    </svg>
    <span>Antipode</span>
  </a>
`;

function linkText(state: State, nowMs: number): TemplateResult {
  const at = shownAt(state);
  const head = headOf(state);
  if (isOfNow(state))
    return html`<span class="pulse" data-beat=${state.heard % 2 === 0 ? nothing : ''} aria-hidden="true"></span>live from coordinator ${head?.coordinator}`;
  if (at === undefined) return html`nothing heard yet`;
  return html`old: from ${timeOfDay(at)} UTC, <strong>${age(nowMs - at)}</strong> ago`;
}

function footText(state: State): TemplateResult {
  const { viewer } = state;
  const head = headOf(state);
  return html`
    ${viewer === undefined ? nothing : html`<span>Signed in by the certificate of <strong>${viewer.name}</strong> (${viewer.role})${viewer.mayOrder ? '' : `. Read-only: ${viewer.whyNot}`}</span>`}
    ${head === undefined ? nothing : html`<span>Antipode ${head.version}</span>`}
    <span>All times are UTC</span>
  `;
}

/** Without a session there is nothing to show. */
export const closedDoor = (): TemplateResult => html`
  <main class="door" id="main" tabindex="-1">
    <h1>This page has no session</h1>
    <p>Open the address that <code>antipode dashboard</code> printed last. Each address works once, for one browser.</p>
  </main>
`;
