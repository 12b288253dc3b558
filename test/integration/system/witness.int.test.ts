/** Two members and a witness: the witness has the vote that an automatic failover needs. Simulated, and once for real. */
import { readFileSync, writeFileSync } from 'node:fs';
import { FailoverPolicy } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedSystem } from '../../support/simulated-system.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const specOf = (witnessSites: string[], serialOf = (site: string) => `${site}-1`) => ({
  name: GROUP,
  members: ['a', 'b'].map((site) => ({ site, serial: serialOf(site) })),
  witnessSites,
  rpoSeconds: 60,
  failoverPolicy: FailoverPolicy.AUTOMATIC,
});

describe('a group of two members', () => {
  let system: SimulatedSystem;
  beforeAll(async () => {
    system = await SimulatedSystem.start({ seed: 'witness' }, { sites: ['a', 'b'], witnesses: ['w'], group: GROUP });
  });
  afterAll(() => system.close());
  const shown = async () => (await system.operator.getGroup({ group: GROUP })).group!;

  it.each([
    ['without a witness', [], 'REQUEST_INVALID'],
    ['with a witness that nobody has heard', ['v'], 'NOT_FOUND'],
    ['with a member that is to vote twice', ['b'], 'REQUEST_INVALID'],
  ])('does not fail over by itself %s', async (_what, witnesses, code) => {
    const refused = await system.until(rejection(system.operator.createGroup({ spec: specOf(witnesses) })));
    expect(refused.code).toBe(code);
  });

  it('fails over by itself with a witness, which persists the epoch and is shown', async () => {
    const { operationId } = await system.until(system.operator.createGroup({ spec: specOf(['w']) }));
    await system.until(system.ended(operationId));
    system.sites.get('a')!.member.hsm.addSecret('a key');
    await system.seen(async () => (await shown()).protection === 'protected');
    await system.lose('a');
    await system.seen(async () => (await shown()).activeSite === 'b');
    expect(system.sites.get('w')!.site.journal.tenure.fence(GROUP)).toEqual({ epoch: 2n, owner: 'b' });
    const told = await system.seen(async () => {
      const { votingSites, witnesses } = await shown();
      return witnesses[0]?.epoch === 2n && { votingSites, witnesses };
    });
    expect(told).toMatchObject({ votingSites: 3, witnesses: [{ site: 'w', siteState: 'up', epoch: 2n }] });
  });

  it('does not lose the witness while its vote is needed', async () => {
    const change = { kind: { case: 'removeWitness', value: { site: 'w' } } } as const;
    const { obstacleCode } = await system.until(system.operator.planGroupChange({ group: GROUP, change }));
    expect(obstacleCode).toBe('GROUP_CHANGE_REFUSED');
  });
});

it('an agent without an HSM votes, over the real wire and from its own disk', async () => {
  const system = await TestSystem.start({ createGroup: false });
  try {
    await system.stopAgent('c');
    const { configFile } = system.site('c');
    const config = readFileSync(configFile, 'utf8');
    writeFileSync(configFile, `${config.slice(0, config.indexOf('partitions:'))}witness: true\n`);
    await system.startAgent('c');
    const { operator } = system;
    await system.until('the witness is heard', async () => {
      const { sites } = await operator.getStatus({});
      return sites.some(({ site, state, partitions }) => site === 'c' && state === 'up' && partitions.length === 0);
    });
    await system.insistent('the group has its domain key', async () => {
      const { operationId } = await operator.createGroup({ spec: specOf(['c'], (site) => system.site(site).serial) });
      if (operationId !== '') await system.ended(operationId);
    });
    await system.makeKey('a', '01');
    await system.replicate(['b']);
    await system.stopAgent('a');
    await system.untilActive('b');
    expect(system.agent('c').site.journal.tenure.fence(GROUP)).toEqual({ epoch: 2n, owner: 'b' });
  } finally {
    await system.close();
  }
}, 120_000);
