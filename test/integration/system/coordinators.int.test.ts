/**
 * Two coordinators as processes, on a PostgreSQL and a Redis, with three sites. The leader is paused and killed. In
 * `runbooks.int.test.ts` the primary of their database is killed under them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROFILES } from '@antipode/coordinator/testing';
import { CoordinatorService, createClient, OperatorService, SiteAgentService } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { DatabasePair } from '../../support/database-pair.ts';
import { COORDINATORS, GROUP, TestSystem } from '../../support/system.ts';

/** Several takeovers, and failovers of the database, on a busy machine. */
vi.setConfig({ testTimeout: 180_000 });

let pair: DatabasePair;
let system: TestSystem;

beforeAll(async () => {
  pair = await DatabasePair.start({ roles: COORDINATORS, standbys: 0 });
  system = await TestSystem.start({ shared: pair.shared, rpoSeconds: 3_600 });
  await system.makeKey('a', '01');
  await system.replicate();
  // Every row that is written from now on, with the coordinator whose connection it came by.
  await pair.ask(`
    CREATE TABLE witness (id bigserial PRIMARY KEY, who text NOT NULL, tbl text NOT NULL);
    CREATE FUNCTION note_writer() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO witness (who, tbl) VALUES (session_user, TG_TABLE_NAME); RETURN NULL; END $$;
    DO $$ DECLARE name text; BEGIN
      FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'witness' LOOP
        EXECUTE format('CREATE TRIGGER zz_writer AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION note_writer()', name);
      END LOOP; END $$;`);
}, 180_000);
afterAll(async () => {
  await system?.close();
  await pair?.close();
});

interface Said {
  readonly leader: string;
  readonly term: bigint;
}

/** The coordinator that says that it leads. One that is paused does not answer. */
async function leader({ except = '' }: { except?: string } = {}): Promise<Said> {
  return system.until('a coordinator leads', async () => {
    for (const id of COORDINATORS.filter((one) => one !== except)) {
      const client = system.dialCoordinator(CoordinatorService, id);
      try {
        const { term } = await client.getLeader({}, { timeoutMs: 1_000 });
        if (term > 0n) return { leader: id, term };
      } catch {
        // It is paused, or gone.
      } finally {
        client.close();
      }
    }
    return undefined;
  });
}

const other = (id: string): string => COORDINATORS.find((one) => one !== id)!;
const writes = async (who: string, after: bigint): Promise<string[]> =>
  (await pair.ask<{ tbl: string }>(`SELECT tbl FROM witness WHERE who = '${who}' AND id > ${after}`)).map(
    ({ tbl }) => tbl,
  );
/** The highest term that each agent has persisted. */
const heard = (): bigint[] => ['a', 'b', 'c'].map((name) => system.agent(name).site.terms.highest?.term ?? 0n);
const allHear = (term: bigint) =>
  system.until('the sites hear the leader', async () => heard().every((one) => one >= term));

/** Sites that count as down although none was lost. A first answer may be lost with the coordinator that gave it. */
const falseDowns = async (): Promise<string[]> => {
  const { sites } = await system.insistent('the sites are shown', () => system.operator.getStatus({}));
  return sites.filter(({ state }) => state === 'down').map(({ site }) => site);
};

describe('a leader that is paused', () => {
  it('is followed by the other one, and writes nothing and orders nothing when it is woken', async () => {
    const { leader: paused, term } = await leader();
    const successor = other(paused);
    const process = system.coordinatorProcesses.get(paused)!;
    process.signal('SIGSTOP');
    const next = await leader({ except: paused });
    expect([next.leader, next.term > term]).toEqual([successor, true]);
    await allHear(next.term);
    expect(await falseDowns()).toEqual([]);
    const [{ last } = { last: '0' }] = await pair.ask<{ last: string }>(
      `SELECT coalesce(max(id), 0)::text AS last FROM witness WHERE who = '${successor}'`,
    );
    const linesBefore = system.logLines.length;
    process.signal('SIGCONT');
    await system.until('the paused one has noticed', async () => {
      const client = system.dialCoordinator(CoordinatorService, paused);
      try {
        const said = await client.getLeader({}, { timeoutMs: 1_000 });
        return said.term === 0n && said.leader === successor;
      } finally {
        client.close();
      }
    });
    await system.makeKey('a', '02');
    await system.insistent('the next key is replicated', () => system.replicate());
    expect(await writes(paused, BigInt(last))).toEqual([]);
    const orders = system.logLines
      .slice(linesBefore)
      .filter((line) => line.includes('call served') && line.includes(`/coordinator/${paused}`))
      .filter((line) => !/SiteAgentService\/(Ping|Describe|ProbePeer)"/.test(line));
    expect(orders).toEqual([]);
    // An order that was on its way when it was paused.
    const { port } = system.agent('b');
    const late = createClient(SiteAgentService, {
      address: `localhost:${port}`,
      tls: system.tlsOfCoordinator(paused),
      expected: { kind: 'site', name: 'b' },
    });
    const { group } = await system.operator.getGroup({ group: GROUP });
    const fence = { group: GROUP, epoch: group!.epoch + 1n, owner: 'b', requestId: 'late', term };
    expect((await rejection(late.promote({ fence }))).code).toBe('TERM_STALE');
    late.close();
    expect(system.agent('b').site.journal.tenure.fence(GROUP)?.epoch).toBe(group!.epoch);
  });

  it('answers nobody from what it has heard before', async () => {
    const { leader: leading } = await leader();
    const follower = system.dialCoordinator(OperatorService, other(leading));
    const questions = [
      () => follower.getStatus({}),
      () => follower.resolve({ group: GROUP }),
      () => follower.listGroups({}),
    ];
    for (const ask of questions)
      expect(await rejection(ask())).toMatchObject({
        code: 'NOT_LEADER',
        details: { leader: leading, leaderAddress: system.addressOfCoordinator(leading) },
      });
    follower.close();
  });
});

/** What `status` says of a coordinator. */
const shown = async (id: string) => {
  const { coordinators } = await system.operator.getStatus({});
  return coordinators.find(({ coordinator }) => coordinator === id);
};
const SITES = ['a', 'b', 'c'];

it('the one that stands by is shown, with where it is and who reaches it', async () => {
  const { leader: leading } = await leader();
  const standby = await system.until('all sites have reported', async () => {
    const found = await shown(other(leading));
    return found?.reachedBy.length === SITES.length && found;
  });
  expect(standby).toMatchObject({
    address: system.addressOfCoordinator(other(leading)),
    state: 'stands-by',
    reachedBy: SITES,
    missedBy: [],
  });
  expect(await shown(leading)).toMatchObject({
    address: system.addressOfCoordinator(leading),
    state: 'leads',
    reachedBy: SITES,
  });
});

describe('a leader that is killed', () => {
  it('in the middle of a replication is followed by one that ends it', async () => {
    const { leader: killed, term } = await leader();
    await system.makeKey('a', '03');
    const { operationId } = await system.operator.replicate({ group: GROUP });
    await system.coordinatorProcesses.get(killed)!.killAll();
    const next = await leader({ except: killed });
    expect(next.term > term).toBe(true);
    await system.until('the operation has ended', async () => {
      const { operation } = await system.operator.getOperation({ operationId });
      return operation?.status === 'done';
    });
    await system.until('every site has the key', async () =>
      (await Promise.all(['a', 'b', 'c'].map((name) => system.keysAt(name)))).every((keys) => keys.includes('key 03')),
    );
    for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toEqual(['key 01', 'key 02', 'key 03']);
    expect(await falseDowns()).toEqual([]);
    await system.until('the killed one is shown as silent', async () => {
      const { state, missedBy = [] } = (await shown(killed)) ?? {};
      return state === 'silent' && missedBy.length === SITES.length;
    });
    system.startSharing(killed);
    await system.until('it is shown to stand by', async () => (await shown(killed))?.state === 'stands-by');
  });
});

describe('a Redis that is lost', () => {
  it('costs time only: keys are replicated, another coordinator takes over, and the group is moved', async () => {
    pair.queueLink.cut();
    await system.makeKey('a', '31');
    await system.insistent('a key is replicated without Redis', () => system.replicate());
    const { leader: killed } = await leader();
    await system.coordinatorProcesses.get(killed)!.killAll();
    await leader({ except: killed });
    await system.moveTo('b');
    await system.moveTo('a');
    expect(await falseDowns()).toEqual([]);
    pair.queueLink.heal();
    system.startSharing(killed);
    const isQueueUp = async () => (await system.operator.getStatus({})).isQueueUp;
    await system.until('Redis is used again', isQueueUp);
    await system.makeKey('a', '32');
    await system.insistent('the next key is replicated', () => system.replicate());
  });
});

/** The operator's configuration, with the agent of site a in it. */
function ownConfig(): string {
  const { file } = operatorConfigOf(system.folder);
  const copy = join(system.folder, 'operator', 'with-agent.yaml');
  const agent = `agent: { site: a, address: "localhost:${system.agent('a').port}" }\n`;
  writeFileSync(copy, `${readFileSync(file, 'utf8')}${agent}`);
  return copy;
}

describe('both coordinators killed at once', () => {
  it('leave the active member its lease by the word of the others, until one of them does not give it', async () => {
    const { leader: one } = await leader();
    await system.until('the others may vouch', async () => system.agent('a').site.vouched.groups.includes(GROUP));
    const { epoch } = system.agent('a').site.journal.tenure.fence(GROUP)!;
    const leftMs = (): number => system.agent('a').site.leases.remainingMs(GROUP, epoch);
    for (const id of COORDINATORS) await system.coordinatorProcesses.get(id)!.killAll();
    const asked = system.dialResolver('a');
    try {
      const answer = await system.until('it goes on without coordinators', async () => {
        const said = await asked.lastKnown({ group: GROUP });
        return said.vouchedBy.length === 2 ? said : undefined;
      });
      expect(answer).toMatchObject({ answeredBy: 'a', vouchedBy: ['b', 'c'], notVouchedBy: [], place: { site: 'a' } });
      // By their word alone.
      const own = system.agent('a').site.vouched;
      await system.until(
        'the lease of the coordinator has run out, and it holds one all the same',
        async () => own.sinceGrantMs(GROUP)! > PROFILES.fast.selfStopMs && leftMs() > 0,
      );
      await system.until('status has the own word of every site', async () => {
        const { code, stdout, stderr } = await antipode(['status', '--timeout', '5'], { configFile: ownConfig() });
        const rows = ['a', 'b', 'c'].every((site) => new RegExp(`^payments +${site} +`, 'm').test(stdout));
        return code === 7 && rows && /vouched for by b, c/.test(stdout) && stderr.includes('[');
      });
      await system.stopAgent('c');
      await system.until('it has stopped, for want of one', async () => leftMs() === 0);
      expect((await asked.lastKnown({ group: GROUP })).notVouchedBy).toEqual(['c']);
    } finally {
      asked.close();
    }
    await system.startAgent('c');
    for (const id of [one, other(one)]) system.startSharing(id);
    await leader();
    await system.until('a has a lease of a coordinator again', async () => leftMs() > 0);
    await system.makeKey('a', '33');
    await system.insistent('the next key is replicated', () => system.replicate());
  });
});
