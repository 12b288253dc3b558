/** The real parts together: coordinator, PostgreSQL, Redis, three agents, SoftHSM, mutual TLS on loopback. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { issueCertificate, MemberRole, RpcServer, SiteAgentService, Tls } from '@antipode/protocol';
import { hex, silentLog, startTelemetry, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GROUP, TestSystem } from './support/system.ts';
import { USER_PIN } from './support/tokens.ts';

describe('a group of three sites', () => {
  let system: TestSystem;
  const spans = new InMemorySpanExporter();
  let telemetry: Awaited<ReturnType<typeof startTelemetry>>;

  beforeAll(async () => {
    telemetry = await startTelemetry({
      serviceName: 'test',
      spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
    });
    system = await TestSystem.start();
  });
  afterAll(async () => {
    await system?.close();
    await telemetry?.close();
  });

  const fence = (epoch: bigint, owner = 'a') => ({ group: GROUP, epoch, owner, requestId: 'test' });
  const countAt = (name: string): Promise<number> =>
    system.agent(name).site.partitions.all[0]!.use(async ({ provider }) => (await provider.inventory()).length);

  it('replicates to both standbys, and one trace follows it through queue, coordinator and agents', async () => {
    system.makeKey('a', '01');
    spans.reset();
    const round = await system.replicate();
    expect(round.state.members.map(({ acknowledgedGeneration }) => Number(acknowledgedGeneration)).slice(1)).toEqual([
      round.generation,
      round.generation,
    ]);
    const all = spans.getFinishedSpans();
    const capture = all.find(({ name }) => name === 'SiteAgentService/Capture')!;
    const names = all
      .filter((span) => span.spanContext().traceId === capture.spanContext().traceId)
      .map(({ name }) => name);
    for (const expected of [
      'run capture',
      'SiteAgentService/Capture call',
      'capture',
      'run replication',
      'SiteAgentService/Apply',
      'pull',
      'SiteAgentService/PullBlobs',
      'apply',
      'SiteAgentService/Verify',
      'verify',
      'acknowledge',
    ]) {
      expect(names).toContain(expected);
    }
  });

  it('loses only time when Redis is wiped again and again', async () => {
    const redis = new Redis({ path: system.coordinator.embedded.redis!.socketPath });
    let isWiping = true;
    const wiping = (async () => {
      while (isWiping) {
        await redis.flushall();
        await systemClock.sleep(20);
      }
    })();
    try {
      for (const id of ['02', '03', '04']) {
        system.makeKey('a', id);
        const round = await system.replicate();
        expect(round.sealedObjects).toBe(1);
      }
    } finally {
      isWiping = false;
      await wiping;
      redis.disconnect();
    }
  });

  it('loses only time when Redis is killed in the middle of a replication', async () => {
    system.makeKey('a', '05');
    const running = system.replicate();
    process.kill(system.coordinator.embedded.redis!.pid!, 'SIGKILL');
    const round = await running;
    expect(round.sealedObjects).toBe(1);
    await system.until('the queue is back', async () => (await system.operator.getStatus({})).isQueueUp);
    system.makeKey('a', '06');
    expect((await system.replicate()).sealedObjects).toBe(1);
  });

  it('goes on when PostgreSQL is killed', async () => {
    process.kill(system.coordinator.embedded.postgres!.pid!, 'SIGKILL');
    system.makeKey('a', '07');
    const round = await system.until('replication works again', () => system.replicate());
    expect(round.state.newest?.objectCount).toBe(7);
  });

  it('proves every key in a drill, with evidence that verifies, and leaves production untouched', async () => {
    const before = await countAt('c');
    const { operationId } = await system.operator.runDrill({ group: GROUP, site: '' });
    const drill = await system.until('the drill has ended', async () =>
      (await system.operator.listDrills({ group: GROUP })).drills.find(({ id }) => id === operationId),
    );
    expect(drill).toMatchObject({ passed: true, site: 'c', proof: { proved: 7, failed: 0 } });
    const { isSignedBy } = await import('@antipode/hsm-core');
    expect(
      isSignedBy(
        drill.signer,
        Buffer.concat([Buffer.from('antipode evidence v1\0'), Buffer.from(drill.evidence)]),
        drill.signature,
      ),
    ).toBe(true);
    expect(JSON.parse(drill.evidence)).toMatchObject({
      drillId: operationId,
      objects: { proved: 7, failed: 0 },
      scratch: { clean: true },
    });
    expect(drill.evidence).not.toContain('key 01');
    expect(await countAt('c')).toBe(before);
  });

  it('refuses a drill in a partition that is not declared as scratch', async () => {
    const agent = system.order('c');
    const { newest } = (await system.operator.getGroup({ group: GROUP })).group!;
    const refusal = agent.drill({
      fence: fence(1n),
      drillId: 'd',
      generation: newest!,
      scratchSerial: system.site('c').serial,
      sources: [],
    });
    expect((await rejection(refusal)).code).toBe('SCRATCH_REFUSED');
    agent.close();
  });

  it('refuses another owner of the same epoch, and an epoch that jumps', async () => {
    const agent = system.order('b');
    const order = (epoch: bigint, owner: string) =>
      rejection(
        agent.setRole({ fence: fence(epoch, owner), serial: system.site('b').serial, role: MemberRole.STANDBY }),
      );
    expect((await order(1n, 'c')).code).toBe('EPOCH_CONFLICT');
    expect((await order(5_000n, 'c')).code).toBe('EPOCH_CONFLICT');
    agent.close();
  });

  it('refuses what a lying peer changed by one bit, each with its own code, and changes nothing', async () => {
    system.makeKey('a', '08');
    await system.agent('b').site.partitions.all[0]!.use(async () => {});
    const a = system.agent('a').site;
    // B must not hold it yet: the liar serves what only A has captured.
    const direct = system.order('a');
    const { generation } = await direct.capture({ fence: fence(1n), domainKeyVersion: 1 }, { timeoutMs: 20_000 });
    direct.close();
    const authority = join(system.folder, 'authority');
    const issued = await issueCertificate({
      authority: {
        certificatePem: readFileSync(join(authority, 'ca.crt'), 'utf8'),
        keyPem: readFileSync(join(authority, 'ca.key'), 'utf8'),
      },
      identity: { trustDomain: 'test.antipode', kind: 'site', name: 'liar' },
      validDays: 1,
      nowMs: Date.now(),
    });
    const file = (name: string, text: string): string => {
      const path = join(system.folder, name);
      writeFileSync(path, text, { mode: 0o600 });
      return path;
    };
    const tls = new Tls({
      caFile: join(authority, 'ca.crt'),
      certificateFile: file('liar.crt', issued.certificatePem),
      keyFile: file('liar.key', issued.keyPem),
    });
    const flip = (bytes: Uint8Array): Uint8Array =>
      bytes.map((byte, index) => (index === bytes.length >> 1 ? byte ^ 1 : byte));
    const liar = new RpcServer({ tls, log: silentLog });
    let lie: 'manifest' | 'blob' = 'manifest';
    const unused = () => Promise.reject(new Error('not served'));
    liar.add(SiteAgentService, {
      describe: unused,
      probePeer: unused,
      ping: unused,
      setRole: unused,
      promote: unused,
      distributeDomainKey: unused,
      capture: unused,
      apply: unused,
      verify: unused,
      drill: unused,
      beginExchange: unused,
      completeExchange: unused,
      async *pullManifest(request) {
        for await (const { part } of a.transfer.manifest(request))
          yield { part: lie === 'manifest' ? flip(part) : part };
      },
      async *pullBlobs(request) {
        for await (const { blobs } of a.transfer.blobs(request))
          yield { blobs: lie === 'blob' ? blobs.map(flip) : blobs };
      },
    });
    const port = await liar.listen('localhost:0');
    const agent = system.order('b');
    const before = await countAt('b');
    try {
      for (const [kind, code] of [
        ['manifest', 'MANIFEST_INVALID'],
        ['blob', 'BLOB_INVALID'],
      ] as const) {
        lie = kind;
        const refusal = agent.apply(
          { fence: fence(1n), generation: generation!, sources: [{ site: 'liar', address: `localhost:${port}` }] },
          { timeoutMs: 20_000 },
        );
        expect((await rejection(refusal)).code).toBe(code);
        expect(system.agent('b').site.store.has(hex(generation!.manifestDigest))).toBe(false);
      }
      expect(await countAt('b')).toBe(before);
    } finally {
      agent.close();
      await liar.close();
    }
    await system.replicate();
  });

  it('leaves no key value in any file, queue, log or database', async () => {
    const planted = randomBytes(32);
    const path = join(system.site('a').token.folder, 'planted');
    writeFileSync(path, planted);
    system
      .site('a')
      .token.tool(
        '--write-object',
        path,
        '--type',
        'secrkey',
        '--key-type',
        'AES:32',
        '--id',
        'aa',
        '--label',
        'planted secret',
        '--private',
        '--sensitive',
        '--extractable',
      );
    const { rmSync } = await import('node:fs');
    rmSync(path);
    await system.replicate();
    await system.operator.runDrill({ group: GROUP, site: '' });
    await system.until(
      'the drill has passed',
      async () => (await system.operator.listDrills({ group: GROUP })).drills.length > 1,
    );
    const values = [planted, Buffer.from(planted.toString('hex')), Buffer.from(planted.toString('base64'))];
    // Labels and PINs are as bad in a log, and at the coordinator; only agents see manifests, and only PIN files hold PINs.
    const sensitive = [...values, Buffer.from('planted secret'), Buffer.from(USER_PIN)];
    const log = Buffer.from(system.logLines.join('\n'));
    for (const needle of sensitive) expect(log.includes(needle)).toBe(false);
    const folders = [
      system.folder,
      ...[...system.sites.values()].flatMap(({ token, scratch }) => [
        token.folder,
        ...(scratch === undefined ? [] : [scratch.folder]),
      ]),
    ];
    let files = 0;
    for (const folder of folders) {
      for (const name of readdirSync(folder, { recursive: true })) {
        const file = join(folder, String(name));
        if (!statSync(file, { throwIfNoEntry: false })?.isFile()) continue;
        files += 1;
        const bytes = readFileSync(file);
        for (const needle of file.includes('/coordinator/') ? sensitive : values)
          expect({ file, found: bytes.includes(needle) }).toEqual({ file, found: false });
      }
    }
    expect(files).toBeGreaterThan(100);
  });

  it('keeps refusing a stale epoch after the agent has been restarted', async () => {
    await system.stopAgent('c');
    system.startAgent('c');
    await system.until(
      'c is heard',
      async () => (await system.operator.getStatus({})).sites.find(({ site }) => site === 'c')?.state === 'up',
    );
    const agent = system.order('c');
    await agent.setRole({ fence: fence(2n, 'b'), serial: system.site('c').serial, role: MemberRole.STANDBY });
    agent.close();
    await system.stopAgent('c');
    system.startAgent('c');
    const again = await system.until('c listens', async () =>
      system.agent('c').port > 0 ? system.order('c') : undefined,
    );
    const refusal = again.setRole({ fence: fence(1n), serial: system.site('c').serial, role: MemberRole.STANDBY });
    expect((await rejection(refusal)).code).toBe('EPOCH_STALE');
    again.close();
  });
});

describe('the loss of the active site', () => {
  let system: TestSystem;

  beforeAll(async () => {
    system = await TestSystem.start({ processes: ['a'] });
  });
  afterAll(() => system?.close());

  const generationsAt = (name: string): number => {
    const database = new DatabaseSync(join(system.site(name).folder, 'data', 'generations.db'), { readOnly: true });
    try {
      return Number(database.prepare('SELECT count(*) AS count FROM manifest').get()?.['count']);
    } finally {
      database.close();
    }
  };

  it('promotes a standby when the active agent freezes, and the zombie captures nothing more when it thaws', async () => {
    system.makeKey('a', '01');
    const { token } = system.site('a');
    token.tool(
      '--keypairgen',
      '--key-type',
      'EC:prime256v1',
      '--id',
      '02',
      '--label',
      'pair',
      '--usage-sign',
      '--extractable',
    );
    await system.replicate();
    system.site('a').process!.signal('SIGSTOP');
    await system.untilActive('b');
    const before = generationsAt('a');
    system.makeKey('a', '0f');
    system.site('a').process!.signal('SIGCONT');
    const group = await system.until('a has rejoined', async () => {
      const { group: state } = await system.operator.getGroup({ group: GROUP });
      return state?.members.find(({ site }) => site === 'a')?.role === MemberRole.STANDBY ? state : undefined;
    });
    expect(group.activeSite).toBe('b');
    expect(group.epoch).toBe(2n);
    const a = new DatabaseSync(join(system.site('a').folder, 'data', 'generations.db'), { readOnly: true });
    const captured = a.prepare('SELECT epoch, number FROM manifest ORDER BY epoch, number').all();
    a.close();
    expect(captured.filter(({ epoch }) => epoch === 1)).toHaveLength(before);
  });

  it('captures at the new active member as truthfully as the first source did', async () => {
    const old = system
      .agent('c')
      .site.store.list(GROUP)
      .find(({ epoch }) => epoch === 1n)!;
    system.makeKey('b', '03');
    const round = await system.replicate(['a', 'c']);
    const { store } = system.agent('c').site;
    const newest = store.open(store.list(GROUP)[0]!.digest).generation;
    expect(newest.epoch).toBe(2n);
    expect(round.state.newest?.objectCount).toBe(newest.entries.length);
    const before = store.open(old.digest).generation.entries;
    for (const entry of before)
      expect(newest.entries.find(({ objectId }) => objectId === entry.objectId)).toEqual(entry);
    expect(newest.entries.length).toBe(before.length + 1);
  });

  it('comes back with the lost site as a standby after every process of it was killed', async () => {
    await system.stopAgent('a');
    system.startAgent('a');
    system.makeKey('b', '04');
    const round = await system.replicate(['a', 'c']);
    expect(round.state.activeSite).toBe('b');
  });

  it('moves by an order of the operator, and the former active member is fenced at once', async () => {
    const plan = await system.operator.planFailover({ group: GROUP, toSite: 'a' });
    expect(plan).toMatchObject({ fromSite: 'b', toSite: 'a', obstacle: '', lostGenerations: [] });
    await system.operator.failover({ group: GROUP, toSite: 'a' });
    await system.untilActive('a');
    system.makeKey('a', '05');
    const round = await system.replicate(['b', 'c']);
    expect(round.state.epoch).toBe(3n);
  });
});
