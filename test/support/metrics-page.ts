/** Reads what a process serves at /metrics, as a scraper does. */

export interface ServedMetric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
}

export async function servedMetrics(address: string): Promise<Map<string, ServedMetric>> {
  const response = await fetch(`http://${address}/metrics`, {
    // A connection that is kept may end just when it is used again.
    headers: { accept: 'text/plain', connection: 'close' },
  });
  if (response.status !== 200) throw new Error(`${address} answered ${response.status}`);
  return readMetrics(await response.text());
}

/** The text format of Prometheus. Samples of a histogram count to its family, with the label `le` of buckets. */
export function readMetrics(text: string): Map<string, ServedMetric> {
  const families = new Map<
    string,
    { name: string; type: string; help: string; samples: ServedMetric['samples'][number][] }
  >();
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [, keyword, of = '', rest = ''] = /^# (TYPE|HELP) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword !== undefined) {
      const family = families.get(of) ?? { name: of, type: '', help: '', samples: [] };
      families.set(of, { ...family, ...(keyword === 'TYPE' ? { type: rest } : { help: rest }) });
      continue;
    }
    const [, name = '', inBraces = '', value = ''] = /^([a-z0-9_]+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ''));
    if (family === undefined) throw new Error(`a sample without a family: ${line}`);
    const labels = [...inBraces.matchAll(/([a-z]+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label!, text!]);
    family.samples.push({ labels: Object.fromEntries(labels) as Record<string, string>, value: Number(value) });
  }
  return families;
}
