/** `npm run chaos:live`: site losses and planned moves, measured by a client that signs. One JSON line at the end. */

import { runProgram } from '../../program.ts';
import { type Distribution, distributionOf } from './distribution.ts';
import { HELP, type Options, parseOptions } from './options.ts';
import { type Loss, loseSite } from './site-loss.ts';
import { type Move, switchOver } from './switchover.ts';

interface Line {
  readonly profile: string;
  readonly siteLoss?: {
    readonly runs: number;
    /** Until the client signs elsewhere. */
    readonly servingMs: Distribution | null;
    readonly recoveryTimeMs: Distribution | null;
    readonly notServed: number;
    readonly acknowledged: number;
    readonly lost: number;
    readonly twoActives: number;
  };
  readonly switchover?: {
    readonly keys: number;
    readonly completeMs: Distribution;
    readonly recoveryTimeMs: Distribution;
    readonly clientGapMs: Distribution;
  };
}

async function main(options: Options): Promise<number> {
  const { kinds, profile, isJson } = options;
  const tell = (text: string): void => {
    if (!isJson || text.startsWith('VIOLATION')) console.error(text);
  };
  const line: Line = {
    profile,
    ...(kinds.includes('site-loss') ? { siteLoss: await losses(options, tell) } : {}),
    ...(kinds.includes('switchover') ? { switchover: await moves(options, tell) } : {}),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  const { notServed = 0, lost = 0, twoActives = 0 } = line.siteLoss ?? {};
  return notServed + lost + twoActives === 0 ? 0 : 1;
}

async function losses({ runs, profile: timings }: Options, tell: (text: string) => void) {
  const found: Loss[] = [];
  for (let run = 1; run <= runs; run += 1) {
    const loss = await loseSite({ timings, tell });
    found.push(loss);
    tell(
      `loss ${run} of ${runs}: ${loss.servingMs === undefined ? 'the client does not sign again' : `the client signs at ${loss.to} after ${Math.round(loss.servingMs)} ms`}`,
    );
  }
  const served = found.flatMap(({ servingMs }) => servingMs ?? []);
  const sum = (of: (loss: Loss) => number): number => found.reduce((total, loss) => total + of(loss), 0);
  const spread = (values: readonly number[]): Distribution | null =>
    values.length === 0 ? null : distributionOf(values);
  return {
    runs: found.length,
    servingMs: spread(served),
    recoveryTimeMs: spread(found.flatMap((loss) => (loss.servingMs === undefined ? [] : [loss.recoveryTimeMs]))),
    notServed: found.length - served.length,
    acknowledged: sum(({ acknowledged }) => acknowledged),
    lost: sum(({ lost }) => lost),
    twoActives: sum(({ twoActives }) => twoActives),
  };
}

async function moves({ runs, keys }: Options, tell: (text: string) => void) {
  const found = await switchOver({ keys, moves: runs });
  for (const [index, move] of found.entries())
    tell(`move ${index + 1} of ${runs}: site ${move.to} serves after ${move.completeMs} ms`);
  const spread = (of: (move: Move) => number): Distribution => distributionOf(found.map(of));
  return {
    keys,
    completeMs: spread(({ completeMs }) => completeMs),
    recoveryTimeMs: spread(({ recoveryTimeMs }) => recoveryTimeMs),
    clientGapMs: spread(({ clientGapMs }) => clientGapMs),
  };
}

await runProgram({ name: 'chaos:live', help: HELP, parse: parseOptions, run: main });
