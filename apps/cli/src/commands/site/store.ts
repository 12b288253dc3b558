/** The sealed objects of a site: how many there are, what is erased next, and what was. */
import { loadAgentConfig, type StoreReport, storeReport } from '@antipode/site-agent';
import type { Command } from 'commander';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';

const HOUR_MS = 3_600_000;
const ERASURES_SHOWN = 10;
const IDS_SHOWN = 3;

const hours = (ms: number): string => `${Math.ceil(ms / HOUR_MS)} h`;

export function storeText(report: StoreReport): string {
  const { manifests, sealedObjects, bytes, deletedKept, deletedExpired, unneeded, erasedInMs, erasures } = report;
  const lines = [
    ...manifests.map(({ group, manifests: count }) => `group ${group}: ${count} generations`),
    `${sealedObjects} sealed objects, ${bytes} bytes`,
    `${deletedKept} deleted objects, ${deletedExpired} of them past their retention`,
    `${unneeded.sealedObjects} sealed objects that nothing needs, ${unneeded.bytes} bytes`,
  ];
  if (erasedInMs !== undefined)
    lines.push(
      `The agent erases them after it has run for another ${hours(erasedInMs.first)} to ${hours(erasedInMs.last)}, unless something needs them again.`,
    );
  if (erasures.length === 0) return [...lines, '', 'Nothing has been erased yet.'].join('\n');
  const rows = erasures
    .slice(0, ERASURES_SHOWN)
    .map((one) => [
      new Date(one.atMs).toISOString(),
      String(one.blobs),
      String(one.bytes),
      idsText(one.objectIds),
      one.isDone ? 'done' : 'cut short',
    ]);
  return [...lines, '', table(['ERASED', 'SEALED OBJECTS', 'BYTES', 'DELETED OBJECTS', 'STATE'], rows)].join('\n');
}

function idsText(objectIds: readonly string[]): string {
  if (objectIds.length === 0) return '-';
  const more = objectIds.length - IDS_SHOWN;
  return objectIds.slice(0, IDS_SHOWN).join(' ') + (more > 0 ? ` and ${more} more` : '');
}

export function storeCommand(): Command {
  const store = command('store', 'the sealed objects of a site; run this at the site itself');
  store.addCommand(
    command('show', 'show the sealed objects, which of them are erased next, and which were erased', [
      'store show --config site-a/agent.yaml',
    ])
      .option('-c, --config <file>', 'configuration of the site agent', 'agent.yaml')
      .option(...JSON_OPTION)
      .action(async ({ config, json }) => {
        const report = storeReport(loadAgentConfig(config));
        output({ json }).data(report, () => storeText(report));
      }),
  );
  return store;
}
