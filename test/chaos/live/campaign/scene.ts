/**
 * Where a story plays: three sites and one or two coordinators as processes, a client that signs, an application that
 * makes keys, and a look at all journals. The same things are judged at the end of every story.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Prng, systemClock } from '@antipode/runtime';
import { DatabasePair } from '../../../support/database-pair.ts';
import { PrivateNetwork } from '../../../support/private-network.ts';
import { COORDINATORS, GROUP, TestSystem } from '../../../support/system.ts';
import { madeFolders } from '../../../support/tokens.ts';
import { JournalWatch } from '../../soak/journals.ts';
import { ABSENT, TokenJudge, type Value, type Way } from '../../soak/token-judge.ts';
import { type Key, KeyMaker } from './key-maker.ts';
import { SigningClient } from './signing-client.ts';

export const SITES = ['a', 'b', 'c'] as const;
export const PATIENCE_MS = 180_000;
const KEYS_BEFORE = 3;
const ATTEMPTS = 3;

export interface SceneOptions {
  readonly timings: 'fast' | 'default';
  readonly prng: Prng;
  readonly tell: (text: string) => void;
  /** Two of them share a database with a standby, and a Redis. */
  readonly coordinators: 1 | 2;
  /** Every place in a namespace of its own. Only in a program that has a private network. */
  readonly isNetworked: boolean;
}

export interface Outcome {
  /** The longest time in which the client did not sign. */
  readonly outageMs: number;
  /** From the end of the faults until the group was protected again; undefined where it was not asked for. */
  readonly settledMs: number | undefined;
  /** The coordinator's own figure of the last move; 0 for none. */
  readonly recoveryTimeMs: number;
  /** Where the client signs at last; empty for nowhere. */
  readonly site: string;
  readonly acknowledged: number;
  readonly lost: number;
  readonly twoActives: number;
}

export class Scene {
  readonly options: SceneOptions;
  readonly system: TestSystem;
  readonly network: PrivateNetwork | undefined;
  readonly pair: DatabasePair | undefined;
  readonly judges: ReadonlyMap<string, TokenJudge>;
  readonly client: SigningClient;
  readonly maker: KeyMaker;
  readonly #watch: JournalWatch;

  private constructor(
    options: SceneOptions,
    parts: Pick<Scene, 'system' | 'network' | 'pair' | 'judges' | 'client' | 'maker'> & { watch: JournalWatch },
  ) {
    this.options = options;
    this.system = parts.system;
    this.network = parts.network;
    this.pair = parts.pair;
    this.judges = parts.judges;
    this.client = parts.client;
    this.maker = parts.maker;
    this.#watch = parts.watch;
  }

  /** The client signs at site a, some keys are acknowledged, and others are being made. */
  static async open(options: SceneOptions): Promise<Scene> {
    const { timings, tell, coordinators, isNetworked } = options;
    const open: { close(): Promise<void> }[] = [];
    try {
      const own = <T extends { close(): Promise<void> }>(part: T): T => {
        open.unshift(part);
        return part;
      };
      const places = [...SITES, ...(coordinators === 1 ? ['main'] : COORDINATORS)];
      const network = isNetworked ? own(await PrivateNetwork.make(places)) : undefined;
      const pair =
        coordinators === 1
          ? undefined
          : own(await DatabasePair.start({ roles: COORDINATORS, standbys: 1, host: network?.hub }));
      const system = own(
        await TestSystem.start({
          processes: [...SITES, 'coordinator'],
          timings,
          timeoutMs: PATIENCE_MS,
          shared: pair?.shared,
          network,
        }),
      );
      PLAYING.add(system);
      const judges = new Map(SITES.map((name) => [name as string, new TokenJudge(system.site(name).token)]));
      const folders = new Map(SITES.map((name) => [name as string, join(system.site(name).folder, 'data')]));
      const watch = own(new JournalWatch(folders, tell));
      watch.start();
      const maker = own(new KeyMaker(system, judges));
      while (maker.acknowledged.length < KEYS_BEFORE)
        await system.insistent('a key is acknowledged', () => maker.makeAcknowledged());
      const client = own(new SigningClient({ system, judges, key: maker.acknowledged[0]! }));
      client.start();
      await client.signs();
      maker.start();
      await system.until('a key is acknowledged meanwhile', async () => maker.acknowledged.length > KEYS_BEFORE);
      return new Scene(options, { system, network, pair, judges, client, maker, watch });
    } catch (thrown) {
      for (const part of open) await part.close().catch(() => undefined);
      throw thrown;
    }
  }

  /** The coordinator that leads, as the database has it. */
  async leader(): Promise<string> {
    const { system, pair } = this;
    if (pair === undefined) return 'main';
    return system.until('a coordinator leads', async () => {
      const [row] = await pair.ask<{ holder: string }>('SELECT holder FROM leader_lease');
      return row?.holder;
    });
  }

  /** Some part of a second, so that faults do not keep step with what they hit. */
  async someMoment(): Promise<void> {
    await systemClock.sleep(this.options.prng.fraction() * 1_000);
  }

  /** Until the group is as safe as before: everybody serves, and has acknowledged what is there. */
  async settled(): Promise<number> {
    const startedMs = systemClock.monotonicMs();
    await this.system.until('everybody is back', async () => {
      const { sites } = await this.system.operator.getStatus({});
      const { group } = await this.system.operator.getGroup({ group: GROUP });
      return sites.every(({ state }) => state === 'up') && group?.protection === 'protected';
    });
    return systemClock.monotonicMs() - startedMs;
  }

  /** Ends the applications, and looks for every key that was acknowledged, where `resolve` says. */
  async judged({ settledMs }: { settledMs: number | undefined }): Promise<Outcome> {
    const { system, maker, client, options } = this;
    await client.signsNow(PATIENCE_MS);
    await maker.close();
    await client.close();
    const site = client.signsAt ?? '';
    const lost = site === '' ? maker.acknowledged : await this.#missing(site);
    for (const { label, site: madeAt } of lost)
      options.tell(
        `VIOLATION ${label}, made at ${madeAt}, was acknowledged and does not sign at ${site || 'any site'}`,
      );
    const { group } = await system.operator.getGroup({ group: GROUP });
    return {
      outageMs: client.longestGapMs,
      settledMs,
      recoveryTimeMs: Number(group?.lastRecoveryTimeMs ?? 0n),
      site,
      acknowledged: maker.acknowledged.length,
      lost: lost.length,
      twoActives: this.#watch.twoActives,
    };
  }

  async close(): Promise<void> {
    const parts = [this.client, this.maker, this.#watch, this.system, this.pair, this.network];
    for (const part of parts) await part?.close();
    PLAYING.delete(this.system);
  }

  /** By its id and by its label. */
  async #missing(site: string): Promise<Key[]> {
    const found: Key[] = [];
    for (const key of this.maker.acknowledged)
      for (const way of ['id', 'label'] as const)
        if (!found.includes(key) && !(await this.#signs(key, site, way))) found.push(key);
    return found;
  }

  /** A tool that fails once on a busy machine says nothing of the key: it is asked again. */
  async #signs({ id, label, value }: Key, site: string, way: Way): Promise<boolean> {
    let answer: Value = ABSENT;
    for (let count = 0; count < ATTEMPTS; count += 1) {
      answer = await this.judges.get(site)!.answers(way, { id, label, candidates: [value] });
      if (answer === value) return true;
    }
    this.options.tell(`  ${label} by its ${way} at ${site}: ${answer}`);
    return false;
  }
}

/** If this program ends in the middle, its folders would be left in memory. Its processes end with it in any case. */
const PLAYING = new Set<TestSystem>();
process.on('exit', () => {
  for (const system of PLAYING) {
    const agents = [...system.sites.values()].map(({ process: agent }) => agent);
    const coordinators = [system.coordinatorProcess, ...system.coordinatorProcesses.values()];
    for (const one of [...agents, ...coordinators]) one?.signal('SIGKILL');
  }
  for (const folder of madeFolders()) rmSync(folder, { recursive: true, force: true });
});
