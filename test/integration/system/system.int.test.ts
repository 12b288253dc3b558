/** The real parts together: coordinator, PostgreSQL, Redis, three agents, SoftHSM, mutual TLS on loopback. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA } from '@antipode/cryptoki';
import { issueCertificate, MemberRole, RpcServer, SiteAgentService, Tls } from '@antipode/protocol';
import { type AntipodeError, type Clock, hex, silentLog, startTelemetry, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRawToken, type RawToken } from '../../attacks/support/raw-token.ts';
import { label } from '../../attacks/support/templates.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { dataOf } from '../../support/token-pair.ts';

/** The monotonic clock can stand still, so that a lease lasts for as long as a test needs. */
class PausableClock implements Clock {
  #heldMs: number | undefined;
  #behindMs = 0;
  wallMs = (): number => systemClock.wallMs();
  monotonicMs = (): number => this.#heldMs ?? systemClock.monotonicMs() - this.#behindMs;
  sleep = (ms: number, signal?: AbortSignal): Promise<void> => systemClock.sleep(ms, signal);
  isSliceOver = (sinceMs: number): boolean => systemClock.isSliceOver(sinceMs + this.#behindMs);
  makeWay = (): Promise<void> => systemClock.makeWay();
  hold(): void {
    this.#heldMs = this.monotonicMs();
  }
  goOn(): void {
    this.#behindMs = systemClock.monotonicMs() - this.monotonicMs();
    this.#heldMs = undefined;
  }
}

describe('a group of three sites', () => {
  let system: TestSystem;
  const clockOfA = new PausableClock();
  const spans = new InMemorySpanExporter();
  let telemetry: Awaited<ReturnType<typeof startTelemetry>>;

  beforeAll(async () => {
    telemetry = await startTelemetry({
      serviceName: 'test',
      spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
    });
    // No capture of the coordinator's own takes a key before the test asks for it.
    system = await TestSystem.start({ rpoSeconds: 86_400, clocks: (name) => (name === 'a' ? clockOfA : systemClock) });
  });
  afterAll(async () => {
    await system?.close();
    await telemetry?.close();
  });

  const fence = (epoch: bigint, owner = 'a') => ({ group: GROUP, epoch, owner, requestId: 'test' });
  const countAt = (name: string): Promise<number> =>
    system.agent(name).site.partitions.all[0]!.use(async ({ provider }) => (await provider.inventory()).length);

  it('is unprotected while it has keys and not one of them can be captured, whatever is acknowledged', async () => {
    const { token } = system.site('a');
    await token.toolAsync('--keygen', '--key-type', 'AES:32', '--id', '99', '--label', 'it stays');
    const { state } = await system.replicate();
    expect(state.newest?.uncaptured).toMatchObject([{ reason: 'unextractable' }]);
    expect(await system.untilProtection('unprotected')).toMatchObject({ protectedKeys: 0, unprotectedKeys: 1 });
    await system.makeKey('a', '98');
    await system.replicate();
    expect(await system.untilProtection('partially-protected')).toMatchObject({ protectedKeys: 1, unprotectedKeys: 1 });
    for (const id of ['98', '99']) await system.deleteKey('a', id);
    await system.replicate();
  });

  it('replicates to both standbys, and one trace follows it through queue, coordinator and agents', async () => {
    await system.makeKey('a', '01');
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
        await system.makeKey('a', id);
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
    await system.makeKey('a', '05');
    const running = system.replicate();
    process.kill(system.coordinator.embedded.redis!.pid!, 'SIGKILL');
    const round = await running;
    expect(round.sealedObjects).toBe(1);
    await system.until('the queue is back', async () => (await system.operator.getStatus({})).isQueueUp);
    await system.makeKey('a', '06');
    expect((await system.replicate()).sealedObjects).toBe(1);
  });

  it('goes on when PostgreSQL is killed', async () => {
    process.kill(system.coordinator.embedded.postgres!.pid!, 'SIGKILL');
    await system.makeKey('a', '07');
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

  it('finds that a standby has lost a key, takes back what it acknowledged, and mends it', async () => {
    const { newest } = (await system.operator.getGroup({ group: GROUP })).group!;
    await system.deleteKey('b', '01');
    const scrub = async (): Promise<string> => {
      const { operationIds } = await system.operator.runScrub({ group: GROUP, site: 'b' });
      return system.ended(operationIds[0]!).then(
        () => '',
        (error: AntipodeError) => error.code,
      );
    };
    expect(await scrub()).toBe('DIGEST_MISMATCH');
    await system.untilAcknowledged(Number(newest!.generation), ['b', 'c']);
    expect(await scrub()).toBe('');
    expect(await system.keysAt('b')).toContain('key 01');
    const { members } = (await system.operator.getGroup({ group: GROUP })).group!;
    expect(members.map(({ site, scrubErrorCode }) => [site, scrubErrorCode])).toContainEqual(['b', '']);
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

  it('moves a data object of 8 MiB through stores and links to both standbys', async () => {
    const value = randomBytes(8 * 1024 * 1024);
    const at = async <T>(site: string, work: (token: RawToken) => Promise<T>): Promise<T> => {
      const token = await openRawToken(system.site(site).token);
      try {
        return await work(token);
      } finally {
        await token.close();
      }
    };
    await at('a', (token) => token.create(dataOf(value, ...label('large'))));
    const { sealedObjects, state } = await system.replicate();
    expect([sealedObjects, state.newest?.uncaptured]).toEqual([1, []]);
    for (const site of ['b', 'c']) {
      const restored = await at(site, async (token) => {
        const [data] = await token.find(label('large'));
        return (await token.attributes(data!, [CKA.VALUE])).get(CKA.VALUE)!;
      });
      expect(value.equals(restored)).toBe(true);
    }
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
    await system.makeKey('a', '08');
    await system.agent('b').site.partitions.all[0]!.use(async () => {});
    const a = system.agent('a').site;
    // B must not hold it yet: the liar serves what only A has captured.
    const direct = system.order('a');
    const { generation } = await system.insistent('a has captured it', () =>
      direct.capture({ fence: fence(1n), domainKeyVersion: 1 }, { timeoutMs: 20_000 }),
    );
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
      tellGroups: unused,
      probePeer: unused,
      ping: unused,
      setRole: unused,
      persistEpoch: unused,
      reseat: unused,
      promote: unused,
      distributeDomainKey: unused,
      capture: unused,
      apply: unused,
      verify: unused,
      scrub: unused,
      retireDomainKeys: unused,
      drill: unused,
      archive: unused,
      offerDivergence: unused,
      mergeDivergence: unused,
      matchFilter: unused,
      cancelOrder: unused,
      beginExchange: unused,
      completeExchange: unused,
      reportStanding: unused,
      vouch: unused,
      async *pullManifest(request) {
        for await (const { part, ...rest } of a.transfer.manifest(request, 'b'))
          yield { ...rest, part: lie === 'manifest' ? flip(part) : part };
      },
      async *pullBlobs(request) {
        for await (const { blobs } of a.transfer.blobs(request, 'b'))
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

  it('stops capturing when neither a coordinator nor all others extend the lease, and goes on when they are back', async () => {
    const agent = system.order('a');
    const capture = () =>
      agent.capture({ fence: fence(1n), domainKeyVersion: 1 }, { timeoutMs: 20_000 }).then(
        () => 'captured',
        (error: { code: string }) => error.code,
      );
    await system.until('a has a lease', async () => (await capture()) === 'captured');
    // It does not lapse while the coordinator is being closed, however long that takes here.
    clockOfA.hold();
    await system.coordinator.close();
    expect(await capture()).toBe('captured');
    // The word of all other voters would extend it.
    await system.stopAgent('c');
    clockOfA.goOn();
    await system.until('the lease has lapsed', async () => (await capture()) === 'LEASE_LAPSED');
    await system.startAgent('c');
    await system.startCoordinator();
    await system.until('the lease is renewed', async () => (await capture()) === 'captured');
    agent.close();
    await system.makeKey('a', '09');
    expect((await system.replicate()).state.activeSite).toBe('a');
  });

  it('keeps refusing a stale epoch after the agent has been restarted', async () => {
    const order = async (epoch: bigint, owner: string) => {
      const agent = system.order('c');
      const { serial } = system.site('c');
      try {
        return await agent.setRole({ fence: fence(epoch, owner), serial, role: MemberRole.STANDBY });
      } finally {
        agent.close();
      }
    };
    await order(2n, 'b');
    await system.stopAgent('c');
    await system.startAgent('c');
    expect((await rejection(order(1n, 'a'))).code).toBe('EPOCH_STALE');
  });
});
