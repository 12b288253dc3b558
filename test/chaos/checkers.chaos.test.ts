/** Checkers whose rule no single bug in the product breaks, since several guards stand behind each other. */
import { expect, it } from 'vitest';
import { drillsInScratch } from './checkers/drills-in-scratch.ts';
import { fencedWrites } from './checkers/fenced-writes.ts';
import type { Facts } from './checkers/index.ts';
import { quarantineKept } from './checkers/quarantine-kept.ts';
import { timePasses } from './checkers/time-passes.ts';

const FACTS = {} as Facts;

it('finds a drill that changes a production token, and a change of scratch without a drill', () => {
  const { look } = drillsInScratch();
  const running = (method: string) => [{ epoch: 1n, method }];
  expect(look({ kind: 'token', site: 'a', epochAtCall: 1n, running: running('drill') }, FACTS)).toContain('site a');
  expect(look({ kind: 'scratch', site: 'a', running: running('apply') }, FACTS)).toContain('site a');
  expect(look({ kind: 'token', site: 'a', epochAtCall: 1n, running: running('apply') }, FACTS)).toBeUndefined();
  expect(look({ kind: 'scratch', site: 'a', running: running('drill') }, FACTS)).toBeUndefined();
});

it('finds a change under a lower epoch than the site had persisted when the call began', () => {
  const { look } = fencedWrites();
  const change = (epochAtCall: bigint) =>
    ({ kind: 'token', site: 'b', epochAtCall, running: [{ epoch: 1n, method: 'apply' }] }) as const;
  expect(look(change(2n), FACTS)).toContain('site b');
  expect(look(change(1n), FACTS)).toBeUndefined();
});

it('finds a change in a token whose site has been in quarantine for a while', () => {
  const { look } = quarantineKept();
  const at = (nowMs: number): Facts => ({ nowMs, isQuarantined: () => true }) as Partial<Facts> as Facts;
  const change = { kind: 'token', site: 'a', epochAtCall: 1n, running: [] } as const;
  look({ kind: 'journal', site: 'a' }, at(0));
  expect(look(change, at(1_000))).toBeUndefined();
  expect(look(change, at(60_000))).toContain('quarantine');
});

it('finds a time that runs ahead, unless the wall clocks of the story count', () => {
  const { look } = timePasses();
  const at = (nowMs: number, areWallClocksTrusted = false): Facts =>
    ({ nowMs, areWallClocksTrusted }) as Partial<Facts> as Facts;
  expect(look({ kind: 'mark', markMs: 1_000_000 }, at(5_000))).toBeUndefined();
  expect(look({ kind: 'mark', markMs: 1_020_000 }, at(10_000))).toBeUndefined();
  expect(look({ kind: 'mark', markMs: 4_600_000 }, at(10_000, true))).toBeUndefined();
  expect(look({ kind: 'mark', markMs: 4_600_000 }, at(10_000))).toContain('gained');
});
