/**
 * `node test/chaos/luna/main.ts [--seeds N] [--from N] [--vault] [--real]`: random faults under the driver of lunacm,
 * with the tool in this process or as processes. It prints one line for each seed that fails.
 */
import { parseArgs } from 'node:util';
import { runTrial } from './trial.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '500' },
    from: { type: 'string', default: '0' },
    vault: { type: 'boolean', default: false },
    real: { type: 'boolean', default: false },
  },
});
const outcomes: Record<string, number> = {};
let failed = 0;
for (let seed = Number(values.from); seed < Number(values.from) + Number(values.seeds); seed += 1) {
  const result = await runTrial(`${values.vault ? 'vault' : 'luna'}-${seed}`, { isReal: values.real });
  for (const [outcome, count] of Object.entries(result.outcomes)) outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
  if (result.violations.length === 0) continue;
  failed += 1;
  process.stdout.write(`seed ${seed}: ${result.violations.join('; ')}\n`);
}
for (const [outcome, count] of Object.entries(outcomes).sort()) process.stdout.write(`${count}\t${outcome}\n`);
process.stdout.write(`${values.seeds} seeds, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
