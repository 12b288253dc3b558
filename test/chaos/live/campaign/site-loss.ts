/**
 * One loss of the active site, agent and HSM together, while a client signs and keys are made. Measures the time from the
 * kill until the client signs at another site. Then every key that a replication acknowledged must sign there.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, systemPrng } from '@antipode/runtime';
import { GROUP, TestSystem } from '../../../support/system.ts';
import { JournalWatch } from '../../soak/journals.ts';
import { TokenJudge, type Value } from '../../soak/token-judge.ts';
import { SigningClient } from './signing-client.ts';

const SITES = ['a', 'b', 'c'];
const STANDBYS = ['b', 'c'];
const KEYS_BEFORE = 3;
const ROUND_MS = 1_000;
const PATIENCE_MS = 120_000;

export interface Loss {
  /** From the kill to the first signature elsewhere; undefined where there was none in two minutes. */
  readonly servingMs: number | undefined;
  /** The coordinator's own figure: from the last sign of life. */
  readonly recoveryTimeMs: number;
  readonly to: string;
  readonly acknowledged: number;
  readonly lost: number;
  readonly twoActives: number;
}

interface Key {
  readonly id: string;
  readonly label: string;
  readonly value: Value;
}

export async function loseSite({
  timings,
  tell,
}: {
  timings: 'fast' | 'default';
  tell: (text: string) => void;
}): Promise<Loss> {
  const system = await TestSystem.start({ processes: [...SITES, 'coordinator'], timings, timeoutMs: PATIENCE_MS });
  try {
    const judges = new Map(SITES.map((name) => [name, new TokenJudge(system.site(name).token)]));
    const folders = new Map(SITES.map((name) => [name, join(system.site(name).folder, 'data')]));
    const watch = new JournalWatch(folders, tell);
    watch.start();
    const maker = new KeyMaker(system, judges.get('a')!);
    for (let count = 0; count < KEYS_BEFORE; count += 1) await maker.make();
    await maker.acknowledge();
    const client = new SigningClient({ system, judges, key: maker.acknowledged[0]! });
    client.start();
    await client.signs();
    maker.start();
    await system.until('a key is acknowledged meanwhile', async () => maker.acknowledged.length > KEYS_BEFORE);
    // Somewhere in the next round.
    await systemClock.sleep(systemPrng.fraction() * ROUND_MS);

    const killedMs = systemClock.monotonicMs();
    await system.site('a').process!.killAll();
    // Its HSM is gone with it. Keys that were being made are lost to nobody: no replication has acknowledged them.
    hideToken(system);
    const signed = await client.signsElsewhere('a', PATIENCE_MS);
    await maker.close();
    await client.close();
    const { acknowledged } = maker;
    const lost =
      signed === undefined
        ? acknowledged.map(({ label }) => label)
        : await missing(acknowledged, judges.get(signed.site)!);
    for (const label of lost) tell(`VIOLATION ${label} was acknowledged and does not sign at ${signed?.site}`);
    const { group } = await system.operator.getGroup({ group: GROUP });
    await watch.close();
    return {
      servingMs: signed && signed.atMs - killedMs,
      recoveryTimeMs: Number(group?.lastRecoveryTimeMs ?? 0n),
      to: signed?.site ?? '',
      acknowledged: acknowledged.length,
      lost: lost.length,
      twoActives: watch.twoActives,
    };
  } finally {
    await system.close();
  }
}

/** Makes keys at the active site, and orders their replication. */
class KeyMaker {
  readonly #system: TestSystem;
  readonly #judge: TokenJudge;
  readonly #made: Key[] = [];
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  acknowledged: readonly Key[] = [];

  constructor(system: TestSystem, judge: TokenJudge) {
    this.#system = system;
    this.#judge = judge;
  }

  start(): void {
    this.#running = (async () => {
      while (!this.#stop.signal.aborted) {
        try {
          await this.make();
          await this.acknowledge();
        } catch {
          // Its site is gone.
          return;
        }
      }
    })();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async make(): Promise<void> {
    const id = (this.#made.length + 1).toString(16).padStart(4, '0');
    const label = `key-${id}`;
    const pair = ['--keypairgen', '--key-type', 'EC:prime256v1', '--sensitive', '--extractable', '--usage-sign'];
    await this.#system.site('a').token.toolAsync(...pair, '--id', id, '--label', label);
    this.#made.push({ id, label, value: await this.#judge.publicKey(id) });
  }

  /** Waits until every standby has what is there now. */
  async acknowledge(): Promise<void> {
    const made = [...this.#made];
    const { operationId } = await this.#system.operator.replicate({ group: GROUP });
    await this.#system.ended(operationId);
    const { group } = await this.#system.operator.getGroup({ group: GROUP });
    const newest = group?.newest;
    if (newest === undefined || this.#stop.signal.aborted) return;
    await this.#system.until('every standby has acknowledged', async () => {
      if (this.#stop.signal.aborted) return true;
      const { group: now } = await this.#system.operator.getGroup({ group: GROUP });
      const standbys = now?.members.filter(({ site }) => STANDBYS.includes(site)) ?? [];
      if (!standbys.every(({ acknowledgedGeneration }) => acknowledgedGeneration >= newest.generation)) return false;
      this.acknowledged = made;
      return true;
    });
  }
}

function hideToken(system: TestSystem): void {
  const { folder } = system.site('a').token;
  renameSync(join(folder, 'tokens'), join(folder, 'tokens-lost'));
}

async function missing(keys: readonly Key[], judge: TokenJudge): Promise<string[]> {
  const found: string[] = [];
  for (const { id, label, value } of keys)
    for (const way of ['id', 'label'] as const)
      if ((await judge.answers(way, { id, label, candidates: [value] })) !== value) found.push(label);
  return [...new Set(found)];
}
