/** The alert rules and dashboards of `infra/`, as tests read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRICS, type MetricDeclaration, type MetricName } from '@antipode/runtime';
import { parse, stringify } from 'yaml';

const infra = join(import.meta.dirname, '../../infra');
export const ALERTS_FILE = join(infra, 'prometheus/alerts.yaml');

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<'summary' | 'description' | 'runbook_url', string>>;
}

interface RulesFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly AlertRule[] }[];
}

const readRules = (): RulesFile => parse(readFileSync(ALERTS_FILE, 'utf8')) as RulesFile;

export const alertRules = (): AlertRule[] => readRules().groups.flatMap(({ rules }) => rules);

/** The rules with every `for:` of this length, and nothing else changed, for a story of seconds. */
export function rulesWithWaits({ ms }: { ms: number }): string {
  const groups = readRules().groups.map(({ rules, ...group }) => ({
    ...group,
    rules: rules.map((rule) => (rule.for === undefined ? rule : { ...rule, for: `${ms}ms` })),
  }));
  return stringify({ groups });
}

const MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function millisecondsOf(duration: string): number {
  const [, count, unit = ''] = /^(\d+)(ms|s|m|h|d)$/.exec(duration) ?? [];
  const factor = MS[unit];
  if (count === undefined || factor === undefined) throw new Error(`not a duration: ${duration}`);
  return Number(count) * factor;
}

/** A query of a dashboard, or of an alert. */
export interface Query {
  readonly from: string;
  readonly expr: string;
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
}

export interface Dashboard {
  readonly file: string;
  readonly title: string;
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query?: string }[];
  };
}

export function dashboards(): Dashboard[] {
  const folder = join(infra, 'grafana');
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => ({ ...(JSON.parse(readFileSync(join(folder, file), 'utf8')) as Dashboard), file }));
}

export const queriesOf = ({ file, panels }: Dashboard): Query[] =>
  panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat = '' }) => ({ from: `${file}: ${title}`, expr, legend: legendFormat })),
  );

/** Labels that Prometheus itself adds. */
const ADDED = ['instance', 'job', 'le'];
/** Metrics that Prometheus itself makes. */
const MADE = ['up', 'ALERTS'];

/** The names and labels of a query that the catalogue does not have. */
export function undeclaredIn({ expr, legend }: Pick<Query, 'expr' | 'legend'>): string[] {
  const faults: string[] = [];
  const allowed = new Set([...ADDED, 'alertname', 'severity']);
  const metrics = [...expr.matchAll(/\b(antipode_[a-z0-9_]+|up|ALERTS)\b(?!\s*\()(?:\{([^}]*)\})?/g)];
  if (metrics.length === 0) faults.push(`no metric in ${expr}`);
  for (const [, name = '', matchers = ''] of metrics) {
    if (MADE.includes(name)) continue;
    const declaration = declared(name);
    if (declaration === undefined) {
      faults.push(name);
      continue;
    }
    const own: readonly string[] = [...declaration.labels, ...ADDED];
    for (const label of declaration.labels) allowed.add(label);
    for (const [, label = ''] of matchers.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)/g))
      if (!own.includes(label)) faults.push(`${name}{${label}}`);
  }
  const grouped = [...expr.matchAll(/\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)/g)];
  const used = [
    ...grouped.flatMap(([, list = '']) => list.split(',').map((label) => label.trim())),
    ...[...legend.matchAll(/\{\{\s*([a-z_]+)\s*\}\}/g)].map(([, label]) => label!),
  ];
  return [...faults, ...used.filter((label) => label !== '' && !allowed.has(label))];
}

/** The declaration of a metric, also by the name of a part of a histogram. */
function declared(name: string): MetricDeclaration | undefined {
  const of = (one: string): MetricDeclaration | undefined =>
    Object.hasOwn(METRICS, one) ? METRICS[one as MetricName] : undefined;
  const family = of(name.replace(/_(bucket|sum|count)$/, ''));
  const own = of(name);
  // A histogram has no sample of its own name.
  if (own !== undefined) return own.type === 'histogram' ? undefined : own;
  return family?.type === 'histogram' ? family : undefined;
}
