/** Small signs, each with its meaning in words beside it for those who do not see it. */
import { html, type TemplateResult } from 'lit-html';
import type { Seat } from '../src/model/entries.ts';

export const unseen = (text: string): TemplateResult => html`<span class="unseen">${text}</span>`;

/** Filled for the one that serves, a ring for what waits, a slash for what must not serve. */
export const roleMark = (role: Seat['role'], isDown: boolean): TemplateResult =>
  html`<span class="mark mark-${role} ${isDown ? 'is-down' : ''}" aria-hidden="true"></span>`;

export const dot = (severity: string): TemplateResult =>
  html`<span class="dot dot-${severity}" aria-hidden="true"></span>`;
