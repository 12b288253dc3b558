/**
 * The time of a process by function: `node test/bench/report/summarise-profile.ts FILE.cpuprofile...`. It prints self
 * time, and for our own files also the time of everything that they called.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

interface Node {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const SHOWN = 18;

const nameOf = ({ callFrame: { functionName, url, lineNumber } }: Node): string =>
  `${functionName || '(anonymous)'} ${url === '' ? '' : `${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`}`.trim();

function summarise({ nodes, samples, timeDeltas }: Profile): string {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const selfUs = new Map<number, number>();
  for (const [index, id] of samples.entries()) selfUs.set(id, (selfUs.get(id) ?? 0) + (timeDeltas[index] ?? 0));
  const self = new Map<string, number>();
  const total = new Map<string, number>();
  const add = (sums: Map<string, number>, name: string, us: number): void => {
    sums.set(name, (sums.get(name) ?? 0) + us);
  };
  const walk = (node: Node, above: ReadonlySet<string>): number => {
    const name = nameOf(node);
    const own = selfUs.get(node.id) ?? 0;
    const within = new Set([...above, name]);
    const us = (node.children ?? []).reduce((sum, id) => sum + walk(byId.get(id)!, within), own);
    add(self, name, own);
    // Of a function that calls itself, the outermost call counts.
    if (!above.has(name)) add(total, name, us);
    return us;
  };
  walk(nodes[0]!, new Set());
  const rows = (sums: Map<string, number>, keep: (name: string) => boolean): string[] =>
    [...sums]
      .filter(([name, us]) => us > 0 && keep(name))
      .sort(([, a], [, b]) => b - a)
      .slice(0, SHOWN)
      .map(([name, us]) => `  ${(us / 1_000).toFixed(0).padStart(8)} ms  ${name}`);
  const ofOurs = (name: string): boolean => /\.ts:\d+$/.test(name);
  return ['self', ...rows(self, () => true), 'with what they call', ...rows(total, ofOurs)].join('\n');
}

for (const file of process.argv.slice(2)) {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile;
  process.stdout.write(`${basename(file)}\n${summarise(profile)}\n\n`);
}
