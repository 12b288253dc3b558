/** A real coordinator under a whole fleet: its processor time, memory and statements at rest, and through a regional loss. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EmbeddedPostgres, PostgresStore, readGroups } from '@antipode/coordinator/testing';
import { Town } from '@antipode/demo/town';
import { issueCertificate } from '@antipode/protocol';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { RatedClock } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import type { Workspace } from '../places/workspace.ts';
import type { AgentsConfig, AgentsOrder, AgentsReport } from './agents.ts';
import { fillFleet } from './fill.ts';
import { type FleetSize, fleetSites, TRUST_DOMAIN } from './fleet.ts';
import { type Cost, Meter, rounded, type Spread, spread } from './meter.ts';
import { cpuSeconds } from './usage.ts';

const ANTIPODE = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));
const COORDINATOR = fileURLToPath(new URL('./slow-coordinator.ts', import.meta.url));
const AGENTS = fileURLToPath(new URL('./agents.ts', import.meta.url));
const LOOK_MS = 250;
/** The first passes read everything. */
const WARM_MS = 10_000;
const SETTLE_MS_MAX = 300_000;
const FILL_MS_MAX = 10 * 60_000;

export interface ScaleOptions extends FleetSize {
  /** How long the steady state is measured. */
  readonly seconds: number;
  /** Neighbouring sites that are lost at once. */
  readonly lost: number;
  /** Seconds of the fleet's clock in one of the machine's. All times of the result are of the fleet's clock. */
  readonly pace: number;
  /** Of the agents' heartbeats. */
  readonly tellsChanges: boolean;
  /** For profiling the coordinator. */
  readonly environment: Readonly<Record<string, string>>;
  readonly tell: (text: string) => void;
}

export interface ScaleResult {
  readonly steady: Cost;
  readonly loss?: {
    readonly sites: number;
    /** Groups whose active site was lost. */
    readonly groups: number;
    /** From the loss until the coordinator called each site down. */
    readonly downMs: Spread;
    /** From the loss until each group is served again. */
    readonly servedMs: Spread;
    readonly cost: Cost;
    /** Of one second, at most. */
    readonly coordinatorCoresMax: number;
    /** From the return of the sites until every member stands by again and nothing is under way. */
    readonly backMs: number;
    readonly backCost: Cost;
  };
}

export async function measureScale(workspace: Workspace, options: ScaleOptions): Promise<ScaleResult> {
  const fleet = new Fleet(workspace, options);
  try {
    await fleet.start();
    return await fleet.measure();
  } finally {
    await fleet.close();
  }
}

/** The settings of V8 with which the command starts a coordinator. */
function coordinatorFlags(): string[] {
  const [, flags = ''] =
    /= coordinator \]; then\n(?: +#.*\n)* +set -- ((?:--\S+ )+)/.exec(readFileSync(ANTIPODE, 'utf8')) ?? [];
  if (flags === '') throw new Error('bin/antipode has no settings for a coordinator');
  return flags.trim().split(' ');
}

class Fleet {
  readonly #workspace: Workspace;
  readonly #options: ScaleOptions;
  readonly #folder: string;
  readonly #clock: RatedClock;
  #postgres: EmbeddedPostgres | undefined;
  #store!: PostgresStore;
  #coordinator!: ChildProcess;
  #agents!: ChildProcess;
  #meter!: Meter;

  constructor(workspace: Workspace, options: ScaleOptions) {
    this.#workspace = workspace;
    this.#options = options;
    this.#clock = new RatedClock(systemClock);
    this.#clock.rate = options.pace;
    this.#folder = mkdtempSync(join(tmpdir(), 'antipode-bench-scale-'));
    chmodSync(this.#folder, 0o711);
  }

  async start(): Promise<void> {
    const { tell, groups, sites, members } = this.#options;
    tell(`filling the database: ${groups} groups of ${members} members at ${sites} sites ...`);
    const databaseUrl = await this.#startDatabase();
    await fillFleet(this.#store, this.#options, systemClock.wallMs());
    const town = await Town.found({
      folder: this.#workspace.folder('town'),
      trustDomain: TRUST_DOMAIN,
      operator: 'bench',
      timings: 'default',
      servers: { databaseUrl },
    });
    await this.#issueCertificates(town);
    const { pace } = this.#options;
    const [program, args] =
      pace === 1
        ? [ANTIPODE, ['coordinator', 'run', '--config', town.coordinatorFile]]
        : [process.execPath, [...coordinatorFlags(), COORDINATOR, town.coordinatorFile, String(pace)]];
    this.#coordinator = this.#workspace.spawn(program, args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...this.#options.environment, ANTIPODE_LOG_LEVEL: 'error' },
    });
    tell('starting the agents ...');
    await this.#startAgents(town);
    this.#meter = new Meter({
      store: this.#store,
      clock: this.#clock,
      coordinator: this.#coordinator.pid!,
      postgres: this.#postgres!.pid!,
      report: async () => (await this.#order({ type: 'report' })) as AgentsReport,
      tell,
    });
    await this.#until('every site is heard', () => this.#areHeard(sites));
    await this.#until('what was due at the start is done', async () => (await this.#openIntents()) <= groups / 10);
  }

  async measure(): Promise<ScaleResult> {
    const { seconds, lost, tell } = this.#options;
    await this.#clock.sleep(Math.min(WARM_MS, seconds * 1_000));
    tell(`measuring the steady state for ${seconds} s ...`);
    const steady = await this.#meter.cost(() => this.#clock.sleep(seconds * 1_000));
    if (lost === 0) return { steady };
    return { steady, loss: await this.#lose(lost) };
  }

  async close(): Promise<void> {
    const ended = this.#coordinator === undefined ? undefined : once(this.#coordinator, 'exit');
    this.#coordinator?.kill('SIGTERM');
    await ended;
    this.#agents?.kill('SIGTERM');
    await this.#store?.close();
    await this.#postgres?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #startDatabase(): Promise<string> {
    const ports = { dataFolder: this.#folder, clock: systemClock, prng: seededPrng('bench'), log: silentLog };
    const first = new EmbeddedPostgres(ports);
    await first.start();
    await first.close();
    const settings = join(this.#folder, 'postgres', 'postgresql.conf');
    writeFileSync(settings, `${readFileSync(settings, 'utf8')}\nshared_preload_libraries = 'pg_stat_statements'\n`);
    this.#postgres = new EmbeddedPostgres(ports);
    const connection = await this.#postgres.start();
    const limits = { statementMs: FILL_MS_MAX, idleInTransactionMs: FILL_MS_MAX };
    this.#store = new PostgresStore({ connection, clock: systemClock, limits });
    await this.#store.found();
    await this.#store.query((db) => sql`CREATE EXTENSION pg_stat_statements`.execute(db));
    return `postgres://antipode@localhost/postgres?host=${encodeURIComponent(this.#postgres.socketFolder)}`;
  }

  async #issueCertificates(town: Town): Promise<void> {
    const read = (name: string): string => readFileSync(join(town.authority, name), 'utf8');
    const authority = { certificatePem: read('ca.crt'), keyPem: read('ca.key') };
    for (const name of fleetSites(this.#options)) {
      const folder = join(town.folder, name);
      const identity = { trustDomain: TRUST_DOMAIN, kind: 'site', name } as const;
      const { certificatePem, keyPem } = await issueCertificate({
        authority,
        identity,
        validDays: 2,
        nowMs: systemClock.wallMs(),
      });
      mkdirSync(folder);
      writeFileSync(join(folder, 'ca.crt'), authority.certificatePem);
      writeFileSync(join(folder, 'tls.crt'), certificatePem);
      writeFileSync(join(folder, 'tls.key'), keyPem, { mode: 0o600 });
    }
  }

  async #startAgents(town: Town): Promise<void> {
    const { groups, sites, members, pace, tellsChanges } = this.#options;
    const config: AgentsConfig = {
      size: { groups, sites, members },
      folder: town.folder,
      coordinator: town.coordinator.address,
      changes: 0.1,
      pace,
      tellsChanges,
    };
    const file = join(town.folder, 'agents.json');
    writeFileSync(file, JSON.stringify(config));
    this.#agents = this.#workspace.spawn(process.execPath, [AGENTS, file], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await this.#answer();
  }

  async #lose(count: number) {
    const { tell } = this.#options;
    const sites = fleetSites(this.#options).slice(0, count);
    const isLost = new Set(sites);
    const lostMs = this.#clock.monotonicMs();
    const lastEvent = await this.#lastEvent();
    const groups = await this.#ownedBy(isLost);
    tell(`losing ${count} sites, where ${groups} groups are active ...`);
    let coresMax = 0;
    const servedMs: number[] = [];
    const downMs: number[] = [];
    const cost = await this.#meter.cost(async () => {
      await this.#order({ type: 'lose', sites });
      let [atMs, seconds] = [this.#clock.monotonicMs(), cpuSeconds(this.#coordinator.pid!)];
      await this.#until('every group is served again', async () => {
        const [nowMs, now] = [this.#clock.monotonicMs(), cpuSeconds(this.#coordinator.pid!)];
        if (nowMs - atMs >= 1_000) {
          coresMax = Math.max(coresMax, ((now - seconds) * 1_000) / (nowMs - atMs));
          [atMs, seconds] = [nowMs, now];
        }
        const down = await this.#downSince(lastEvent);
        while (downMs.length < down) downMs.push(Math.round(nowMs - lostMs));
        const left = await this.#ownedBy(isLost);
        while (servedMs.length < groups - left) servedMs.push(Math.round(nowMs - lostMs));
        return left === 0;
      });
    });
    tell('the sites return ...');
    const backAtMs = this.#clock.monotonicMs();
    const backCost = await this.#meter.cost(async () => {
      await this.#order({ type: 'return', sites });
      await this.#until('every member stands by', () => this.#isSettled());
    });
    return {
      sites: count,
      groups,
      downMs: spread(downMs),
      servedMs: spread(servedMs),
      cost,
      coordinatorCoresMax: rounded(coresMax),
      backMs: Math.round(this.#clock.monotonicMs() - backAtMs),
      backCost,
    };
  }

  /** Groups whose epoch in force belongs to one of these sites. */
  async #ownedBy(sites: ReadonlySet<string>): Promise<number> {
    return (await this.#store.query((db) => readGroups(db))).filter(({ owner }) => sites.has(owner)).length;
  }

  async #isSettled(): Promise<boolean> {
    const groups = await this.#store.query((db) => readGroups(db));
    const areSeated = groups.every(({ members }) => members.every(({ role }) => role !== 'fenced'));
    const { rows } = await this.#store.query((db) =>
      sql<{ behind: bigint }>`
        SELECT count(*) AS behind FROM member m
        JOIN LATERAL (SELECT epoch, number FROM generation WHERE grp = m.grp ORDER BY epoch DESC, number DESC LIMIT 1) newest ON true
        LEFT JOIN acknowledgement a ON a.grp = m.grp AND a.site = m.site AND a.epoch = newest.epoch AND a.number = newest.number
        WHERE m.role = 'standby' AND a.site IS NULL`.execute(db),
    );
    // A capture a moment ago leaves some members behind at any time.
    return areSeated && Number(rows[0]!.behind) < groups.length / 20;
  }

  async #lastEvent(): Promise<bigint> {
    const { rows } = await this.#store.query((db) =>
      sql<{ id: bigint }>`SELECT coalesce(max(id), 0) AS id FROM event`.execute(db),
    );
    return rows[0]!.id;
  }

  /** Sites that were called down after an event. */
  async #downSince(event: bigint): Promise<number> {
    const { rows } = await this.#store.query((db) =>
      sql<{
        count: bigint;
      }>`SELECT count(DISTINCT site) AS count FROM event WHERE kind = 'site-down' AND id > ${event}`.execute(db),
    );
    return Number(rows[0]!.count);
  }

  async #areHeard(sites: number): Promise<boolean> {
    const { heartbeats } = (await this.#order({ type: 'report' })) as AgentsReport;
    const { rows } = await this.#store.query((db) =>
      sql<{ count: bigint }>`SELECT count(*) AS count FROM site`.execute(db),
    );
    return Number(rows[0]!.count) === sites && heartbeats > 0;
  }

  async #openIntents(): Promise<number> {
    const { rows } = await this.#store.query((db) =>
      sql<{ count: bigint }>`SELECT count(*) AS count FROM intent WHERE status IN ('open', 'parked')`.execute(db),
    );
    return Number(rows[0]!.count);
  }

  async #order(order: AgentsOrder): Promise<unknown> {
    const answered = this.#answer();
    this.#agents.send(order);
    return answered;
  }

  async #answer(): Promise<unknown> {
    const over = new AbortController();
    const { signal } = over;
    try {
      const [answer] = await Promise.race([
        once(this.#agents, 'message', { signal }),
        once(this.#agents, 'exit', { signal }).then(() => {
          throw new Error('the simulated agents have ended');
        }),
      ]);
      return answer;
    } finally {
      over.abort();
    }
  }

  async #until(what: string, look: () => Promise<boolean>): Promise<void> {
    const endMs = this.#clock.monotonicMs() + SETTLE_MS_MAX;
    while (!(await look())) {
      if (this.#coordinator.exitCode !== null) throw new Error(`the coordinator ended (${this.#coordinator.exitCode})`);
      if (this.#clock.monotonicMs() > endMs) throw new Error(`not within ${SETTLE_MS_MAX / 1_000} s: ${what}`);
      await systemClock.sleep(LOOK_MS);
    }
  }
}
