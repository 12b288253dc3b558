/**
 * The line of a group's generations. Time runs to the right, and each site has a lane. A generation begins as a filled
 * point at the site that captured it. A line leads to each site that acknowledged it: the flatter, the longer that took.
 */
import { html, nothing, svg, type TemplateResult } from 'lit-html';
import type { LineGeneration } from '../src/model/entries.ts';
import { scrolling } from './marks.ts';
import { age, dateAndTime, timeOfDay } from './words.ts';

const STEP = 38;
const LANE = 34;
const LEFT = 84;
const TOP = 26;
/** The width of a step that an acknowledgement may take. */
const REACH = 28;
/** An acknowledgement after so long is at the end of its step. */
const SLOW_MS = 300_000;

/** Seconds and minutes both show, on a scale of logarithms. */
export function reachOf(lagMs: number): number {
  const share = Math.log1p(Math.max(0, lagMs) / 1_000) / Math.log1p(SLOW_MS / 1_000);
  return Math.round(REACH * Math.min(1, share) * 10) / 10;
}

interface Drawing {
  readonly line: readonly LineGeneration[];
  readonly lanes: readonly string[];
}

export function timeline(line: readonly LineGeneration[], sites: readonly string[]): TemplateResult {
  if (line.length === 0) return html`<p class="none">No capture of it is on record any more.</p>`;
  const known = line.flatMap(({ site, acknowledged }) => [site, ...acknowledged.map((one) => one.site)]);
  const drawing = { line, lanes: [...new Set([...sites, ...known])].sort() };
  const width = LEFT + line.length * STEP + 24;
  const height = TOP + drawing.lanes.length * LANE + 34;
  const label = `Generations ${line[0]!.number} to ${line.at(-1)!.number}, and the sites that acknowledged them. The table below says the same.`;
  return html`
    <div class="timeline" tabindex="0" role="group" aria-label="Line of generations">
      <svg role="img" aria-label=${label} width=${width} height=${height} viewBox="0 0 ${width} ${height}">
        ${drawing.lanes.map((site) => lane(site, drawing, width))}
        ${line.map((generation, at) => mark(generation, at, drawing))}
      </svg>
    </div>
    <details>
      <summary>The same as a table</summary>
      ${lineTable(drawing)}
    </details>
  `;
}

const xOf = (at: number): number => LEFT + at * STEP + 8;
const yOf = (site: string, { lanes }: Drawing): number => TOP + lanes.indexOf(site) * LANE + LANE / 2;

function lane(site: string, drawing: Drawing, width: number): TemplateResult {
  const y = yOf(site, drawing);
  return svg`
    <text class="lane-name" x="0" y=${y + 4}>${site}</text>
    <line class="lane" x1=${LEFT - 8} y1=${y} x2=${width} y2=${y}></line>
  `;
}

function mark(generation: LineGeneration, at: number, drawing: Drawing): TemplateResult {
  const { site, number, epoch, capturedAt, acknowledged } = generation;
  const [x, y] = [xOf(at), yOf(site, drawing)];
  const bottom = TOP + drawing.lanes.length * LANE + 14;
  const before = drawing.line[at - 1];
  const isTimed = at === 0 || at === drawing.line.length - 1 || at % 5 === 0;
  return svg`
    ${before === undefined || before.epoch === epoch ? nothing : svg`<line class="epoch" x1=${x - 10} y1="14" x2=${x - 10} y2=${bottom - 10}></line><text class="epoch-name" x=${x - 8} y="12">epoch ${epoch}</text>`}
    ${before === undefined || before.site !== site ? nothing : svg`<line class="tenure" x1=${xOf(at - 1)} y1=${y} x2=${x} y2=${y}></line>`}
    ${acknowledged.map(({ site: other, at: when }) => {
      const [toX, toY] = [x + reachOf(when - capturedAt), yOf(other, drawing)];
      return svg`<line class="reach" x1=${x} y1=${y} x2=${toX} y2=${toY}></line><circle class="held" cx=${toX} cy=${toY} r="3.6"><title>${other} acknowledged generation ${number} after ${age(when - capturedAt)}</title></circle>`;
    })}
    <circle class="captured" cx=${x} cy=${y} r="4.6"><title>generation ${number}, captured at ${site}, ${dateAndTime(capturedAt)}</title></circle>
    <text class="tick" x=${x} y=${bottom} text-anchor="middle">${number}</text>
    ${isTimed ? svg`<text class="tick-time" x=${x} y=${bottom + 14} text-anchor="middle">${timeOfDay(capturedAt).slice(0, 5)}</text>` : nothing}
  `;
}

const lineTable = ({ line, lanes }: Drawing): TemplateResult =>
  scrolling(
    'Generations and acknowledgements, as a table',
    html`
    <table>
      <thead>
        <tr><th scope="col">Generation</th><th scope="col">Epoch</th><th scope="col">Captured</th>${lanes.map((site) => html`<th scope="col">${site}</th>`)}</tr>
      </thead>
      <tbody>
        ${line.toReversed().map(
          (one) => html`<tr>
            <th scope="row">${one.number}</th><td>${one.epoch}</td><td>${dateAndTime(one.capturedAt)}</td>
            ${lanes.map((site) => html`<td>${heldText(one, site)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
    `,
  );

function heldText({ site: source, acknowledged, capturedAt }: LineGeneration, site: string): string {
  if (site === source) return 'captured';
  const found = acknowledged.find((one) => one.site === site);
  return found === undefined ? '-' : `after ${age(found.at - capturedAt)}`;
}
