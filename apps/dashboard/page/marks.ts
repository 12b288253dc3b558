/** Small signs, each with its meaning in words beside it for those who do not see it. */
import { html, type TemplateResult } from 'lit-html';
import type { Seat } from '../src/model/entries.ts';

export const unseen = (text: string): TemplateResult => html`<span class="unseen">${text}</span>`;

/** Filled for the one that serves, a ring for what waits, a slash for what must not serve. */
export const roleMark = (role: Seat['role'], isDown: boolean): TemplateResult =>
  html`<span class="mark mark-${role} ${isDown ? 'is-down' : ''}" aria-hidden="true"></span>`;

export const dot = (severity: string): TemplateResult =>
  html`<span class="dot dot-${severity}" aria-hidden="true"></span>`;

/** A table that is wider than a narrow window: it scrolls by itself, by the keyboard too. */
export const scrolling = (label: string, content: TemplateResult): TemplateResult =>
  html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>${content}</div>`;

/** The head of a table. Columns with numbers are marked with `#`. */
export const head = (...columns: readonly string[]): TemplateResult => html`
  <thead>
    <tr>${columns.map((column) => html`<th scope="col" class=${column.startsWith('#') ? 'number' : ''}>${column.replace('#', '')}</th>`)}</tr>
  </thead>
`;
