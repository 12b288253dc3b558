/** The profile `wan` over links with the longest round trip that it promises, three seconds, between all sites. */

import { follow } from '@antipode/cli/testing';
import { FailoverPolicy } from '@antipode/protocol';
import { afterEach, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

/** A round trip of 3 s, with a moment for the machine. */
const DELAY_MS = 1_450;
const TIMEOUT_MS = 180_000;

let system: TestSystem | undefined;
afterEach(() => system?.close());

it('keys are exchanged, replicated and moved over links with a round trip of three seconds', async () => {
  system = await TestSystem.start({
    links: 'everywhere',
    delayMs: DELAY_MS,
    timings: 'wan',
    timeoutMs: TIMEOUT_MS,
    failoverPolicy: FailoverPolicy.MANUAL,
  });
  const { operator } = system;
  await system.makeKey('a', '01');
  await system.replicate();
  await system.until('all three sites are up', async () => {
    const { sites } = await operator.getStatus({});
    return sites.length === 3 && sites.every(({ state }) => state === 'up');
  });
  const { operationId } = await operator.failover({ group: GROUP, toSite: 'b' });
  await follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
  await system.untilActive('b');
  expect((await operator.getGroup({ group: GROUP })).group?.epoch).toBe(2n);
}, 600_000);
