/** The catalogue of metrics: its names and labels, and the lists that other parts have for themselves. */
import { UNCAPTURED_REASONS } from '@antipode/hsm-core';
import { METRIC_LABELS, METRIC_REASONS, METRICS, type MetricDeclaration } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';

const all = Object.entries(METRICS) as [string, MetricDeclaration][];
/** Units that a name must end with. Others only say what is counted. */
const SUFFIXED = ['seconds', 'bytes', 'ratio'];

describe('the catalogue of metrics', () => {
  it.each(all)('%s has a name by its type and unit', (name, { type, unit, buckets }) => {
    expect(name).toMatch(/^antipode(_[a-z0-9]+)+$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    if (SUFFIXED.includes(unit)) expect(name.replace(/_total$/, '')).toMatch(new RegExp(`_${unit}$`));
    else expect(name).not.toMatch(new RegExp(`_(${SUFFIXED.join('|')})(_total)?$`));
    expect(buckets !== undefined).toBe(type === 'histogram');
    if (buckets !== undefined) expect([...buckets].sort((one, other) => one - other)).toEqual(buckets);
  });

  it('explains every metric and every label, and no label that nothing has', () => {
    for (const [name, { help, meaning }] of all)
      expect([name, help.endsWith('.'), meaning.endsWith('.')]).toEqual([name, true, true]);
    const used = new Set(all.flatMap(([, { labels }]) => labels));
    expect([...used].sort()).toEqual(Object.keys(METRIC_LABELS).sort());
  });

  it('has no label that could name an object or a key', () => {
    expect(Object.keys(METRIC_LABELS).filter((label) => /id$|label|serial|digest|object|address/.test(label))).toEqual(
      [],
    );
  });

  it('knows every reason why an object is not captured', () => {
    expect(METRIC_REASONS).toEqual([...UNCAPTURED_REASONS, 'other']);
  });
});
