/**
 * Keys cloned natively from one SoftHSM token into another, beside `cp -a` of the whole token folder, which is SoftHSM's
 * own way to back up. Afterwards each key is used once, in the clone and in the copy. Opening the tokens is not counted.
 * A C program makes the bare calls that the promises of cloning need, without anything around them.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type HsmProvider, type NativeItem, type ObservedObject, openPartition } from '@antipode/hsm-core';
import { SoftwareDomain } from '@antipode/hsm-core/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { CloningDomain, paired } from '../../support/softhsm-pair.ts';
import type { TestToken } from '../../support/tokens.ts';
import type { NativeFloor } from './floor.ts';
import type { Bench } from './measurements.ts';

export interface NativeRound {
  readonly ours: { readonly takeMs: number; readonly placeMs: number; readonly useMs: number };
  readonly floor: { readonly copyMs: number; readonly useMs: number };
  /** Undefined where the C program is left out. */
  readonly bare: NativeFloor | undefined;
}

/** As many as an apply hands over at once. */
const BATCH = 1_024;

export async function measureNative(
  settings: Bench,
  { source, keys }: { source: TestToken; keys: number },
): Promise<NativeRound[]> {
  const { workspace, rounds, tell } = settings;
  const domain = new CloningDomain(paired(source));
  const measured: NativeRound[] = [];
  // As bin/antipode has it. The first round fills it, and does not count.
  const compiled = { NODE_COMPILE_CACHE: workspace.folder('compiled') };
  const bench = { ...settings, profiling: { ...compiled, ...settings.profiling } };
  for (let round = 0; round <= rounds; round += 1) {
    const standby = workspace.token(`bench-native-${round}`);
    await domain.join(paired(standby));
    const runFloor = () => copied(bench, source);
    const runOurs = () => cloned(bench, { source, standby });
    // The order alternates, so that neither always has the warmer machine.
    const [first, second] = round % 2 === 0 ? [await runFloor(), await runOurs()] : [await runOurs(), await runFloor()];
    const pair = (round % 2 === 0 ? { floor: first, ours: second } : { floor: second, ours: first }) as NativeRound;
    const bare = await bareCalls(bench, { source, keys, domain, round });
    if (round > 0) measured.push({ ...pair, bare });
    const { ours, floor } = pair;
    tell(
      `  round ${round}: take ${ours.takeMs.toFixed(0)}, place ${ours.placeMs.toFixed(0)}, use ${ours.useMs.toFixed(0)} ms; copy ${floor.copyMs.toFixed(0)}, use ${floor.useMs.toFixed(0)} ms${bare === undefined ? '' : `; bare calls: take ${bare.takeMs.toFixed(0)}, place ${bare.placeMs.toFixed(0)} ms`}`,
    );
    standby.remove();
  }
  return measured;
}

async function bareCalls(
  { workspace, floor }: Bench,
  { source, keys, domain, round }: { source: TestToken; keys: number; domain: CloningDomain; round: number },
): Promise<NativeFloor | undefined> {
  if (floor === undefined) return undefined;
  const standby = workspace.token(`bench-bare-${round}`);
  await domain.join(paired(standby));
  const { objects, ...times } = await floor.clone(paired(source), paired(standby));
  if (objects !== keys) throw new Error(`the bare calls moved ${objects} objects, expected ${keys}`);
  standby.remove();
  return times;
}

const open = ({ config }: TestToken, profiling: Bench['profiling']): Promise<HsmProvider> =>
  openPartition(
    { ...config, native: { kind: 'softhsm' }, environment: { ...config.environment, ...profiling } },
    { log: silentLog, clock: systemClock },
  );

/** Everything that has a secret. A manifest carries public halves. */
const keysIn = async (provider: HsmProvider): Promise<ObservedObject[]> =>
  (await provider.inventory()).filter(({ objectClass }) => ['private-key', 'secret-key'].includes(objectClass));

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const startMs = systemClock.monotonicMs();
  const result = await work();
  return [result, systemClock.monotonicMs() - startMs];
}

async function cloned(
  { profiling }: Bench,
  tokens: { source: TestToken; standby: TestToken },
): Promise<NativeRound['ours']> {
  const [source, standby] = [await open(tokens.source, profiling), await open(tokens.standby, profiling)];
  try {
    const keys = await keysIn(source);
    const domain = await SoftwareDomain.installIn(source);
    const there = await domain.copyInto(standby);
    const sealing = await source.generateDataKey(domain.handle);
    const opening = await standby.unwrapDataKey(there.handle, sealing.blob);
    const asked = keys.map(({ handle }) => ({ handle, aad: randomBytes(16) }));
    const [taken, takeMs] = await timed(() => source.takeNative({ dataKey: sealing.handle, items: asked }));
    const items = taken.map((one, index): NativeItem => {
      if ('reason' in one) throw new Error(`a key was not taken: ${one.reason}`);
      const { keyType, objectClass, sizeBits, attributes, publicHalf } = keys[index]!;
      return {
        objectClass: objectClass as NativeItem['objectClass'],
        keyType: keyType as NonNullable<NativeItem['keyType']>,
        sizeBits,
        attributes,
        ...(publicHalf === undefined ? {} : { publicHalf }),
        ciphertext: one.ciphertext,
        aad: asked[index]!.aad,
      };
    });
    const [handles, placeMs] = await timed(async () => {
      const made: bigint[] = [];
      for (let at = 0; at < items.length; at += BATCH) {
        const outcome = await standby.putNative({ dataKey: opening, items: items.slice(at, at + BATCH) });
        if (outcome.failure !== undefined) throw new Error(`a key was not made: ${outcome.failure.code}`);
        made.push(...outcome.handles);
      }
      return made;
    });
    const useMs = await used(standby, there.handle, handles);
    await source.destroy([domain.handle]);
    return { takeMs, placeMs, useMs };
  } finally {
    await source.close();
    await standby.close();
  }
}

async function copied({ workspace, profiling }: Bench, source: TestToken): Promise<NativeRound['floor']> {
  const copy = workspace.copyOf(source);
  // The copy again, by the program that a user would take.
  await workspace.run('rm', ['-r', join(copy.folder, 'tokens')]);
  const [, copyMs] = await timed(() =>
    workspace.run('cp', ['-a', join(source.folder, 'tokens'), join(copy.folder, 'tokens')]),
  );
  const provider = await openPartition(
    { ...copy.config, environment: { ...copy.config.environment, ...profiling } },
    { log: silentLog, clock: systemClock },
  );
  try {
    const keys = await keysIn(provider);
    const domain = await SoftwareDomain.installIn(provider);
    const handles = keys.map(({ handle }) => handle);
    return { copyMs, useMs: await used(provider, domain.handle, handles) };
  } finally {
    await provider.close();
    copy.remove();
  }
}

async function used(provider: HsmProvider, domainKey: bigint, handles: readonly bigint[]): Promise<number> {
  const [answers, useMs] = await timed(() => provider.challenge(domainKey, handles));
  if (answers.some((answer) => answer !== 'works')) throw new Error('a key does not work');
  return useMs;
}
