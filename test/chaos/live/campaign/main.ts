/** `npm run chaos:live`: stories of faults on real processes, judged by a client that signs. One JSON line at the end. */
import { enterPrivateNetwork, hasPrivateNetwork, whyNoPrivateNetwork } from '../../../support/private-network.ts';
import { runProgram } from '../../program.ts';
import { type Distribution, distributionOf } from './distribution.ts';
import { HELP, type Options, parseOptions } from './options.ts';
import { type Performance, play } from './play.ts';
import { STORIES } from './stories/index.ts';
import { type Move, switchOver } from './stories/switchover.ts';

async function main(options: Options): Promise<number> {
  const { kinds, profile, seed, runs, keys, isJson } = options;
  const stories = STORIES.filter(({ name }) => kinds.includes(name));
  const isNetworked = hasPrivateNetwork();
  const why = isNetworked || stories.length === 0 ? undefined : whyNoPrivateNetwork();
  if (!isNetworked && stories.length > 0 && why === undefined) enterPrivateNetwork();
  const tell = (text: string): void => {
    if (!isJson || text.startsWith('VIOLATION')) console.error(text);
  };
  if (why !== undefined) tell(`everything is on loopback, since no network namespace can be made here: ${why}`);
  tell(`seed ${seed}`);
  const performances: Record<string, Performance> = {};
  const skipped: string[] = [];
  for (const story of stories) {
    if (story.needsNetwork && !isNetworked) {
      skipped.push(story.name);
      tell(`${story.name} is skipped: it needs network namespaces`);
    } else performances[story.name] = await play(story, { runs, seed, timings: profile, tell, isNetworked });
  }
  const moves = kinds.includes('switchover') ? await switchover({ runs, keys, tell }) : undefined;
  const line = {
    profile,
    seed,
    network: isNetworked ? 'namespaces' : 'loopback',
    ...(skipped.length === 0 ? {} : { skipped }),
    ...performances,
    ...(moves === undefined ? {} : { switchover: moves }),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  const isBroken = Object.values(performances).some(
    ({ lost, twoActives, notServed, failed }) => lost + twoActives + notServed + failed > 0,
  );
  return isBroken ? 1 : 0;
}

async function switchover({ runs, keys, tell }: { runs: number; keys: number; tell: (text: string) => void }) {
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
// A link that fell silent may leave a socket open that nobody reads any more. It must not keep the program.
process.stdout.write('', () => process.exit());
