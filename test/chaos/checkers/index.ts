/** Every checker, made new for each run. */

import { approved } from './approved.ts';
import { bystandersGoOn } from './bystanders-go-on.ts';
import type { Checker } from './checker.ts';
import { drillsInScratch } from './drills-in-scratch.ts';
import { epochGrows } from './epoch-grows.ts';
import { fencedWrites } from './fenced-writes.ts';
import { leaderWrites } from './leader-writes.ts';
import { majorityVoted } from './majority-voted.ts';
import { namesAnswer } from './names-answer.ts';
import { noSecrets } from './no-secrets.ts';
import { nothingDropped } from './nothing-dropped.ts';
import { nothingLost } from './nothing-lost.ts';
import { onRecord } from './on-record.ts';
import { oneActive } from './one-active.ts';
import { oneOwner } from './one-owner.ts';
import { promisesKept } from './promises-kept.ts';
import { quarantineKept } from './quarantine-kept.ts';
import { somebodyServes } from './somebody-serves.ts';
import { timePasses } from './time-passes.ts';
import { trueNumbers } from './true-numbers.ts';
import { wholeGenerations } from './whole-generations.ts';

export function allCheckers() {
  const grows = epochGrows();
  const dropped = nothingDropped();
  const checkers: readonly Checker[] = [
    oneActive(),
    oneOwner(),
    grows,
    fencedWrites(),
    approved(),
    promisesKept(),
    wholeGenerations(),
    // A drill that takes keys away breaks its own rule first.
    drillsInScratch(),
    dropped,
    namesAnswer(),
    trueNumbers(),
    timePasses(),
    leaderWrites(),
    quarantineKept(),
    majorityVoted(),
    somebodyServes(),
    nothingLost(),
    noSecrets(),
    onRecord(),
    bystandersGoOn(),
  ];
  return {
    checkers,
    /** Somebody has put a journal back, or has emptied a token: what it holds now is its beginning. */
    forget: (site: string): void => {
      grows.forget(site);
      dropped.forget(site);
    },
  };
}

export type { Change, Checker, Facts, KeyFacts, MemberFacts } from './checker.ts';
