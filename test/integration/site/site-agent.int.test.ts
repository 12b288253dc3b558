/** One site agent on real sockets, certificates and tokens: how it starts, and what it says of peers. */
import { mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createClient, isUnreachable, RpcServer, SiteAgentService, Tls, type TlsFiles } from '@antipode/protocol';
import { AntipodeError, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { type AgentConfig, agentConfigSchema, initialisePartition, SiteAgent } from '@antipode/site-agent';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeToken, temporaryFolder } from '../../support/tokens.ts';
import { makeTrust, type TestTrust } from '../../support/trust.ts';

const folder = temporaryFolder('site-agent');
let trust: TestTrust;
let siteFiles: TlsFiles;
let coordinator: Tls;
const opened: { close(): unknown }[] = [];

beforeAll(async () => {
  trust = await makeTrust(folder);
  siteFiles = await trust.issue({ kind: 'site', name: 'a' });
  coordinator = new Tls(await trust.issue({ kind: 'coordinator', name: 'main' }));
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A server that holds a port. */
async function occupied(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.push({ close: () => new Promise((resolve) => server.close(resolve)) });
  return (server.address() as { port: number }).port;
}

let made = 0;
function config(given: Partial<AgentConfig> = {}): AgentConfig {
  made += 1;
  return {
    ...agentConfigSchema.parse({
      site: 'a',
      listen: '127.0.0.1:0',
      coordinator: { id: 'main', address: '127.0.0.1:1' },
      tls: { ca: siteFiles.caFile, certificate: siteFiles.certificateFile, key: siteFiles.keyFile },
      dataFolder: join(folder, `data-${made}`),
      pinsFile: join(folder, `pins-${made}.yaml`),
      partitions: [{ name: 'main', module: 'none.so', tokenLabel: 'none', pinFile: 'none' }],
    }),
    ...given,
  };
}

async function started(given?: Partial<AgentConfig>): Promise<SiteAgent> {
  const agent = SiteAgent.open({ config: config(given), log: silentLog, clock: systemClock, prng: systemPrng });
  await agent.start();
  opened.push(agent);
  return agent;
}

describe('an agent that cannot start', () => {
  it.each(['http', 'listen'] as const)(
    'because its %s address is taken says so, and leaves nothing that runs or holds the folder',
    async (which) => {
      const address = `127.0.0.1:${await occupied()}`;
      const mine = config({ [which]: address });
      const agent = SiteAgent.open({ config: mine, log: silentLog, clock: systemClock, prng: systemPrng });
      expect(await rejection(agent.start())).toMatchObject({ code: 'ADDRESS_UNAVAILABLE', details: { address } });
      if (agent.port > 0) {
        const client = createClient(SiteAgentService, {
          address: `127.0.0.1:${agent.port}`,
          tls: coordinator,
          expected: { kind: 'site', name: 'a' },
        });
        opened.push(client);
        expect((await rejection(client.ping({}))).code).toBe('SITE_UNREACHABLE');
      }
      const next = SiteAgent.open({
        config: { ...mine, [which]: '127.0.0.1:0' },
        log: silentLog,
        clock: systemClock,
        prng: systemPrng,
      });
      opened.push(next);
      await next.start();
      expect(next.port).toBeGreaterThan(0);
    },
  );
});

it('refuses the folder of a site of another name, says whose it is, and leaves it free', async () => {
  const files = await trust.issue({ kind: 'site', name: 'elsewhere' });
  const tls = { ca: files.caFile, certificate: files.certificateFile, key: files.keyFile };
  const mine = config();
  const parts = { log: silentLog, clock: systemClock, prng: systemPrng };
  await SiteAgent.open({ config: { ...mine, site: 'elsewhere', tls }, ...parts }).close();
  for (const _ of ['once', 'again'])
    expect(thrown(() => SiteAgent.open({ config: mine, ...parts }))).toMatchObject({
      code: 'SITE_RENAMED',
      details: { expected: 'elsewhere', found: 'a' },
    });
  await SiteAgent.open({ config: { ...mine, site: 'elsewhere', tls }, ...parts }).close();
});

it('frees the folder also when its databases cannot be opened', () => {
  const mine = config();
  const journal = join(mine.dataFolder, 'journal.db');
  mkdirSync(journal, { recursive: true });
  for (const _ of ['once', 'again'])
    expect(
      thrown(() => SiteAgent.open({ config: mine, log: silentLog, clock: systemClock, prng: systemPrng })),
    ).toMatchObject({
      code: 'FILE_UNWRITABLE',
      details: { path: journal },
    });
});

describe('a token with two names', () => {
  it('is initialised under one of them only', async () => {
    const token = makeToken('twice');
    opened.push({ close: () => token.remove() });
    const { module, tokenLabel, pinFile } = token.config;
    const partition = { module, tokenLabel, pinFile, environment: { ...token.environment } };
    const mine = config({
      partitions: [
        { ...partition, name: 'main', role: 'member' },
        { ...partition, name: 'scratch', role: 'scratch' },
      ],
    });
    const initialise = (name: string) => initialisePartition({ config: mine, name, log: silentLog });
    const { serial, isNew } = await initialise('main');
    expect(isNew).toBe(true);
    expect(await rejection(initialise('scratch'))).toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { partition: 'main', serial },
    });
    expect(await initialise('main')).toMatchObject({ serial, isNew: false });
    expect(token.tool('--list-objects').match(/label:/g)).toHaveLength(2);
  });
});

it('serves from the moment it has its port: nobody is dropped until it has read its certificate', async () => {
  // From the second on, the caller has its own certificate in memory, and is as quick as one can be.
  for (let start = 0; start < 5; start += 1) {
    const agent = await started();
    const client = createClient(SiteAgentService, {
      address: `127.0.0.1:${agent.port}`,
      tls: coordinator,
      expected: { kind: 'site', name: 'a' },
    });
    opened.push(client);
    expect((await client.ping({})).site).toBe('a');
    await agent.close();
  }
});

describe('a peer', () => {
  /** A server with a certificate of its own, whatever is expected there. */
  const other = async (files: TlsFiles): Promise<number> => {
    const server = new RpcServer({ tls: files, log: silentLog });
    const refuse = async () =>
      Promise.reject(new AntipodeError('PEER_REFUSED', 'of its own', { details: { own: true } }));
    const handlers = Object.fromEntries(SiteAgentService.methods.map(({ localName }) => [localName, refuse]));
    server.add(SiteAgentService, handlers as never);
    opened.push({ close: () => server.close(0) });
    return server.listen('127.0.0.1:0');
  };
  const dial = (port: number, tls = coordinator) => {
    const address = `127.0.0.1:${port}`;
    const client = createClient(SiteAgentService, { address, tls, expected: { kind: 'site', name: 'b' } });
    opened.push(client);
    return client;
  };

  it.each<[string, () => Promise<TlsFiles>, string]>([
    ['another site', () => trust.issue({ kind: 'site', name: 'c' }), 'PEER_REFUSED'],
    [
      'another trust domain',
      async () => (await makeTrust(folder, { trustDomain: 'x.example' })).issue({ kind: 'site', name: 'b' }),
      'CERTIFICATE_INVALID',
    ],
  ])('is unreachable where %s answers: for who calls, and for who asks an agent to look', async (_who, files, code) => {
    const port = await other(await files());
    const error = await rejection(dial(port).ping({}));
    expect(error).toMatchObject({ code, details: { connection: true } });
    expect(isUnreachable(error)).toBe(true);
    const agent = await started();
    const { reachable } = await createOrder(agent).probePeer(
      { peer: { site: 'b', address: `127.0.0.1:${port}` }, timeoutMs: 2_000 },
      { timeoutMs: 10_000 },
    );
    expect(reachable).toBe(false);
  });

  it('does not count as unreachable when it refuses by itself', async () => {
    const port = await other(await trust.issue({ kind: 'site', name: 'b' }));
    const error = await rejection(dial(port).ping({}));
    expect(error).toMatchObject({ code: 'PEER_REFUSED', details: { own: true } });
    expect([isUnreachable(error), error.details['connection']]).toEqual([false, undefined]);
  });

  const createOrder = (agent: SiteAgent) => {
    const client = createClient(SiteAgentService, {
      address: `127.0.0.1:${agent.port}`,
      tls: coordinator,
      expected: { kind: 'site', name: 'a' },
    });
    opened.push(client);
    return client;
  };
});
