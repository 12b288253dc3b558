/**
 * Two coordinators as processes, on a PostgreSQL, tell a receiver that a site is lost and that it is back. The leader is
 * killed at each step of a delivery, and the other one continues. The database and the receiver say when a step is
 * reached: a trigger waits for a lock that the test holds, and the receiver is the test.
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { CoordinatorService } from '@antipode/protocol';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DatabasePair } from '../../support/database-pair.ts';
import { COORDINATORS, TestSystem } from '../../support/system.ts';

/** A takeover for each step. */
vi.setConfig({ testTimeout: 180_000 });

interface Heard {
  readonly id: string;
  readonly place: { readonly term: string; readonly number: number };
  readonly notices: readonly { readonly id: string; readonly kind: string; readonly state: string }[];
}
interface Request {
  readonly body: string;
  readonly message: Heard;
  isAccepted: boolean;
}
type State = 'raised' | 'resolved';

let pair: DatabasePair;
let system: TestSystem;
let receiver: Server;
let holder: pg.Client;
/** Every message that has arrived whole, in order. */
const requests: Request[] = [];
/** Answers a message; by default it is accepted. */
let onRequest: ((request: Request, response: ServerResponse) => void | Promise<void>) | undefined;
let onConnection: (() => void) | undefined;

const LOCK = 4_711;
const accepted = (request: Request, response: ServerResponse): void => {
  request.isAccepted = true;
  response.end();
};

beforeAll(async () => {
  receiver = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    try {
      for await (const part of request) parts.push(part as Buffer);
    } catch {
      // Its sender was killed before the message was whole.
      return;
    }
    const body = Buffer.concat(parts).toString();
    const heard: Request = { body, message: JSON.parse(body) as Heard, isAccepted: false };
    requests.push(heard);
    await (onRequest ?? accepted)(heard, response);
  });
  receiver.on('connection', () => onConnection?.());
  const port = await new Promise<number>((resolve) =>
    receiver.listen(0, '127.0.0.1', () => resolve((receiver.address() as AddressInfo).port)),
  );
  pair = await DatabasePair.start({ roles: COORDINATORS, standbys: 0 });
  system = await TestSystem.start({ shared: pair.shared, createGroup: false });
  await notify(port);
  // Each step of a delivery is a change of a row, in its transaction or at its commit.
  await pair.ask(`
    CREATE TABLE stop_at (step text);
    CREATE FUNCTION stop_here() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF EXISTS (SELECT FROM stop_at WHERE step = TG_NAME) THEN PERFORM pg_advisory_xact_lock(${LOCK}); END IF;
        RETURN NULL;
      END $$;
    CREATE TRIGGER seen AFTER INSERT ON notice FOR EACH ROW EXECUTE FUNCTION stop_here();
    CREATE TRIGGER raised AFTER UPDATE ON notice FOR EACH ROW
      WHEN (OLD.raised_ms IS NULL AND NEW.raised_ms IS NOT NULL) EXECUTE FUNCTION stop_here();
    CREATE TRIGGER resolved AFTER UPDATE ON notice FOR EACH ROW
      WHEN (OLD.resolved_ms IS NULL AND NEW.resolved_ms IS NOT NULL) EXECUTE FUNCTION stop_here();
    CREATE TRIGGER batched AFTER UPDATE ON notice_receiver FOR EACH ROW
      WHEN (OLD.batch = '' AND NEW.batch <> '') EXECUTE FUNCTION stop_here();
    CREATE CONSTRAINT TRIGGER batch_commits AFTER UPDATE ON notice_receiver DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (OLD.batch = '' AND NEW.batch <> '') EXECUTE FUNCTION stop_here();
    CREATE TRIGGER told AFTER INSERT OR UPDATE ON notice_told FOR EACH ROW EXECUTE FUNCTION stop_here();
    CREATE TRIGGER cleared AFTER UPDATE ON notice_receiver FOR EACH ROW
      WHEN (OLD.batch <> '' AND NEW.batch = '') EXECUTE FUNCTION stop_here();
    CREATE CONSTRAINT TRIGGER told_commits AFTER UPDATE ON notice_receiver DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (OLD.batch <> '' AND NEW.batch = '') EXECUTE FUNCTION stop_here();`);
  holder = new pg.Client(pair.primary.connection);
  await holder.connect();
}, 180_000);
afterAll(async () => {
  await holder?.end();
  await system?.close();
  await pair?.close();
  receiver?.closeAllConnections();
  receiver?.close();
});

/** Gives both coordinators the receiver, and starts them again. */
async function notify(port: number): Promise<void> {
  const secretFile = join(system.folder, 'desk.secret');
  writeFileSync(secretFile, 'a secret of thirty bytes, say!\n', { mode: 0o600 });
  for (const id of COORDINATORS) {
    const folder = join(system.folder, id === 'main' ? 'coordinator' : `coordinator-${id}`);
    appendFileSync(
      join(folder, 'coordinator.yaml'),
      `notifications:
  waitFactor: 0.005
  receivers:
    - {name: desk, url: "http://127.0.0.1:${port}/notices", secretFile: ${secretFile}, severities: [page]}
`,
    );
    await system.coordinatorProcesses.get(id)!.stop();
    system.startSharing(id);
  }
}

/** The coordinator that says that it leads. One that is paused does not answer. */
const leader = ({ except = '' }: { except?: string } = {}): Promise<string> =>
  system.until('a coordinator leads', async () => {
    for (const id of COORDINATORS.filter((one) => one !== except)) {
      const client = system.dialCoordinator(CoordinatorService, id);
      const { term } = await client.getLeader({}, { timeoutMs: 1_000 }).catch(() => ({ term: 0n }));
      client.close();
      if (term > 0n) return id;
    }
    return undefined;
  });

const ofSite = ({ message }: Request): { id: string; state: string }[] =>
  message.notices.filter(({ id, kind }) => kind === 'site-down' && id.includes('site=b'));
/** Notices of the lost site that the receiver has accepted, in order. */
const acceptedOfSite = () => requests.filter(({ isAccepted }) => isAccepted).flatMap(ofSite);
/** The last word is this one, and nothing else is under way. */
const hears = (state: State): Promise<true> =>
  system.until(`the receiver has ${state}`, async () => {
    if (acceptedOfSite().at(-1)?.state !== state) return false;
    const [row] = await pair.ask<{ batch: string }>('SELECT batch FROM notice_receiver');
    return row?.batch === '';
  });

/** Makes the transactions that reach the step wait. */
async function hold(step: string): Promise<void> {
  await holder.query(`SELECT pg_advisory_lock(${LOCK})`);
  await pair.ask(`INSERT INTO stop_at VALUES ('${step}')`);
}
/** The coordinator that waits there. */
const held = (): Promise<string> =>
  system.until('a coordinator has come to the step', async () => {
    const [row] = await pair.ask<{ usename: string }>(
      `SELECT usename FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objid = ${LOCK} AND NOT granted`,
    );
    return row?.usename;
  });
async function release(): Promise<void> {
  await pair.ask('DELETE FROM stop_at');
  await holder.query(`SELECT pg_advisory_unlock(${LOCK})`);
}

/** Steps at which the database stops a coordinator. Two of them are commits that succeed, and nobody learns of it. */
const STATEMENTS = [
  'seen',
  'raised',
  'resolved',
  'batched',
  'batch_commits',
  'told',
  'cleared',
  'told_commits',
] as const;
type Step = (typeof STATEMENTS)[number] | 'connected' | 'requested';

const kill = (id: string): Promise<void> => system.coordinatorProcesses.get(id)!.killAll();

/** Lets `cause` happen, and kills the leader at a step of what follows. @returns which one it was */
async function killedAt(step: Step, cause: () => Promise<void>): Promise<string> {
  const leading = await leader();
  if (step === 'connected' || step === 'requested') {
    const killed = Promise.withResolvers<void>();
    const now = (): void => {
      onConnection = undefined;
      kill(leading).then(killed.resolve, killed.reject);
    };
    if (step === 'connected') onConnection = now;
    else
      onRequest = async (_request, response) => {
        onRequest = undefined;
        now();
        await killed.promise;
        response.destroy();
      };
    await cause();
    await killed.promise;
    return leading;
  }
  await hold(step);
  try {
    await cause();
    const who = await held();
    await kill(who);
    return who;
  } finally {
    await release();
  }
}

/** Makes the site be lost or return, with the leader killed on the way, until the receiver has the other one's word. */
async function tell(state: State, step: Step | undefined): Promise<void> {
  const cause = (): Promise<void> => (state === 'raised' ? system.stopAgent('b') : system.startAgent('b'));
  if (step === undefined) {
    await cause();
    await hears(state);
    return;
  }
  const killed = await killedAt(step, cause);
  await hears(state);
  expect(await leader()).not.toBe(killed);
  system.startSharing(killed);
}

describe('a leader that is killed', () => {
  const stories: [Step, Step | undefined][] = [
    ['seen', 'resolved'],
    ['raised', 'batched'],
    ['batched', 'batch_commits'],
    ['batch_commits', 'connected'],
    ['connected', 'requested'],
    ['requested', 'told'],
    ['told', 'told_commits'],
    ['cleared', undefined],
    ['told_commits', 'cleared'],
  ];
  it.each(stories)(
    'when a site is lost, at "%s", or returns, at "%s", is followed by one that tells it',
    async (...steps) => {
      await tell('raised', steps[0]);
      const lost = acceptedOfSite().at(-1)!.id;
      await tell('resolved', steps[1]);
      // On a busy machine the site can be lost for a moment once more, by a notice of its own.
      const words = acceptedOfSite().flatMap(({ id, state }) => (id === lost ? [state] : []));
      expect([words.at(0), words.at(-1)]).toEqual(['raised', 'resolved']);
    },
  );
});

describe('a leader that stands still', () => {
  it('after its message is on record sends nothing when it wakes: the other one has sent it', async () => {
    const before = requests.length;
    await hold('batch_commits');
    await system.stopAgent('b');
    const paused = await held();
    const process = system.coordinatorProcesses.get(paused)!;
    process.signal('SIGSTOP');
    // The commit succeeds, and the leader sleeps.
    await release();
    await hears('raised');
    const [message, ...more] = requests.slice(before).map(({ message: { id } }) => id);
    expect(more).toEqual([]);
    process.signal('SIGCONT');
    await system.until('it has noticed', async () => {
      const client = system.dialCoordinator(CoordinatorService, paused);
      const said = await client.getLeader({}, { timeoutMs: 1_000 }).finally(() => client.close());
      return said.term === 0n && said.leader !== '' && said.leader !== paused;
    });
    await tell('resolved', undefined);
    expect(requests.slice(before).filter(({ message: { id } }) => id === message)).toHaveLength(1);
  });

  it('with a message on its way is known by the place in it', async () => {
    const leading = await leader();
    const arrived = Promise.withResolvers<{ late: Request; response: ServerResponse }>();
    onRequest = (late, response) => {
      onRequest = undefined;
      arrived.resolve({ late, response });
    };
    await system.stopAgent('b');
    const { late, response } = await arrived.promise;
    const process = system.coordinatorProcesses.get(leading)!;
    process.signal('SIGSTOP');
    await hears('raised');
    await tell('resolved', undefined);
    const last = requests.at(-1)!;
    process.signal('SIGCONT');
    // The receiver comes to it only now.
    accepted(late, response);
    expect([late.message.id, ofSite(late)[0]!.state]).toEqual([requests.at(-2)!.message.id, 'raised']);
    expect(isBefore(late.message.place, last.message.place)).toBe(true);
    late.isAccepted = false;
  });
});

const isBefore = (one: Heard['place'], other: Heard['place']): boolean =>
  BigInt(one.term) < BigInt(other.term) || (one.term === other.term && one.number < other.number);

it('a receiver can tell repeats, hears each notice in its order, and none twice as another message', () => {
  const firsts = new Map<string, Request>();
  for (const request of requests) {
    const first = firsts.get(request.message.id);
    if (first === undefined) firsts.set(request.message.id, request);
    else expect(request.body).toBe(first.body);
  }
  const messages = [...firsts.values()];
  messages.slice(1).forEach(({ message }, at) => {
    expect(isBefore(messages[at]!.message.place, message.place)).toBe(true);
  });
  const states = Map.groupBy(messages.flatMap(ofSite), ({ id }) => id);
  // A receiver hears once of one that was over before, as resolved.
  for (const all of states.values())
    expect(['raised resolved', 'resolved']).toContain(all.map(({ state }) => state).join(' '));
  expect(requests.length).toBeGreaterThan(messages.length);
});
