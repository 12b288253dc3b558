/**
 * Whatever happened: nothing that somebody may still ask for is missing from a store, and at the end everything that has
 * expired is gone from all of them. The oracle counts by itself: it knows what was captured, deleted and acknowledged, and
 * asks no code of the collector.
 */
import type { Entry, Generation } from '@antipode/hsm-core';
import { MemberRole } from '@antipode/protocol';
import { hex, invariant, sha256Hex } from '@antipode/runtime';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP } from '../testing/two-sites.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Of each site's own configuration. */
const FLOORS_MS = { a: DAY_MS, b: 7 * DAY_MS, c: 20 * DAY_MS };
const FLOOR_MS_MAX = FLOORS_MS.c;
/** The time that a kill may cost the running time. The checks of a retention end that much early. */
const LOST_MS = 60_000;
const NAMES = ['a', 'b', 'c'] as const;
type Name = (typeof NAMES)[number];

const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('make' as const), label: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('write' as const), label: fc.nat(2) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), at: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('replace' as const), at: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('rotate' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('capture' as const) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('everywhere' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('replicate' as const), site: fc.constantFrom(...NAMES) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('fetch' as const), site: fc.constantFrom(...NAMES) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('move' as const), site: fc.constantFrom(...NAMES) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), site: fc.constantFrom(...NAMES) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('wait' as const), hours: fc.nat(24 * 12) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('clock' as const), days: fc.integer({ min: -900, max: 900 }) }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('collect' as const),
        site: fc.constantFrom(...NAMES),
        /** A few times, with more than the grace time in between. */
        isPatient: fc.boolean(),
        crashAt: fc.option(fc.nat(6), { nil: undefined }),
      }),
    },
  ),
  { minLength: 10, maxLength: 60, size: 'max' },
);
type Step = (typeof steps extends fc.Arbitrary<infer Many> ? Many : never) extends readonly (infer One)[] ? One : never;

interface Captured {
  readonly digest: string;
  readonly generation: Generation;
}

class History {
  readonly network = new SimulatedNetwork();
  readonly retentionMs: number;
  active: Name = 'a';
  epoch = 1n;
  version = 1;
  number = 0n;
  readonly line: Captured[] = [];
  readonly acknowledged = new Map<Name, string>();
  /** By site and digest, when a generation was stored there. */
  readonly arrivedMs = new Map<string, number>();

  constructor(retentionMs: number) {
    this.retentionMs = retentionMs;
  }

  async begin(): Promise<void> {
    for (const name of NAMES) await this.network.add(name, { retentionMsMin: FLOORS_MS[name] });
    for (const name of NAMES) for (const peer of NAMES) this.at(name).pin(GROUP, this.at(peer));
    for (const name of NAMES) {
      const role = name === 'a' ? MemberRole.ACTIVE : MemberRole.STANDBY;
      await this.at(name).call('setRole', { fence: fence(), serial: `${name}-1`, role });
    }
    await this.#distribute();
  }

  at(name: Name): SimulatedSite {
    const site = this.network.sites.get(name);
    invariant(site !== undefined, 'a site is up between two steps');
    return site;
  }

  get by() {
    return fence(this.epoch, this.active);
  }

  async run(step: Step): Promise<void> {
    const { hsm } = this.at(this.active).member;
    const made = hsm.objects.filter(({ attributes }) => labelOf(attributes).startsWith('key'));
    switch (step.kind) {
      case 'make':
        hsm.addSecret(`key-${step.label}`);
        return;
      case 'write': {
        const label = `data-${step.label}`;
        const [known] = hsm.labelled(label);
        const value = hsm.prng.bytes(20);
        if (known === undefined) hsm.addData(label, value);
        else known.value = value;
        return;
      }
      case 'delete':
        if (made.length > 0) hsm.remove(made[step.at % made.length]!);
        return;
      case 'replace': {
        const old = made[step.at % Math.max(1, made.length)];
        if (old === undefined) return;
        hsm.remove(old);
        hsm.addSecret(labelOf(old.attributes));
        return;
      }
      case 'rotate':
        this.version += 1;
        return this.#distribute();
      case 'capture':
        return this.capture();
      case 'everywhere':
        await this.capture();
        for (const name of NAMES) await this.replicate(name);
        return;
      case 'replicate':
        return this.replicate(step.site);
      case 'fetch':
        return this.fetch(step.site);
      case 'move':
        return this.move(step.site);
      case 'crash':
        return this.restart(step.site);
      case 'wait':
        return this.network.clock.advance(step.hours * HOUR_MS);
      case 'clock':
        return this.network.clock.stepWall(step.days * DAY_MS);
      case 'collect':
        for (let pass = 0; step.isPatient && pass < 3; pass += 1) {
          await this.collect(step.site);
          await this.network.clock.advance(25 * HOUR_MS);
        }
        return this.collect(step.site, step.crashAt);
    }
  }

  async capture(): Promise<void> {
    const site = this.at(this.active);
    this.#renew(site);
    const { generation, isNew } = await site.call('capture', {
      fence: this.by,
      domainKeyVersion: this.version,
      aboveGeneration: this.number,
      policy: { retentionMs: BigInt(this.retentionMs), lossObjects: 1_000, lossPercent: 100 },
    });
    invariant(generation?.manifestDigest !== undefined, 'a capture names a generation');
    if (!isNew) return;
    const digest = hex(generation.manifestDigest);
    this.number = generation.generation ?? 0n;
    this.line.push({ digest, generation: (await site.site.store.open(digest)).generation });
    this.#arrived(this.active, digest);
    this.acknowledged.set(this.active, digest);
  }

  /** As far as a standby that lost its link comes: everything is here, and nothing of it was applied. */
  async fetch(name: Name): Promise<void> {
    const newest = this.line.at(-1);
    if (newest === undefined || name === this.active) return;
    const { transfer } = this.at(name).site;
    await transfer.pull({ group: GROUP, digest: newest.digest, sources: this.#sources(name) });
    this.#arrived(name, newest.digest);
  }

  async replicate(name: Name): Promise<void> {
    const newest = this.line.at(-1);
    if (newest === undefined || name === this.active) return;
    const generation = { manifestDigest: Buffer.from(newest.digest, 'hex') };
    await this.at(name).call('apply', { fence: this.by, generation, sources: this.#sources(name) });
    this.#arrived(name, newest.digest);
    const { proof } = await this.at(name).call('verify', { fence: this.by, generation, everything: true });
    expect(proof?.failed).toBe(0);
    this.acknowledged.set(name, newest.digest);
  }

  /** A planned one: nothing is lost, and the old active member stands by. */
  async move(to: Name): Promise<void> {
    if (to === this.active || this.line.length === 0) return;
    await this.capture();
    await this.replicate(to);
    this.epoch += 1n;
    this.active = to;
    for (const name of NAMES) {
      const role = name === to ? MemberRole.STANDBY : MemberRole.FENCED;
      await this.at(name).call('setRole', { fence: this.by, serial: `${name}-1`, role });
    }
    await this.at(to).call('promote', { fence: this.by });
    for (const name of NAMES)
      if (name !== to)
        await this.at(name).call('setRole', { fence: this.by, serial: `${name}-1`, role: MemberRole.STANDBY });
    await this.capture();
  }

  async restart(name: Name): Promise<void> {
    const site = this.at(name);
    site.stop();
    await site.start();
  }

  /** The coordinator's word, as a heartbeat brings it, and then a pass; cut short at one of its writes where that is asked. */
  async collect(name: Name, crashAt?: number): Promise<void> {
    const { retention, collector, journal, store } = this.at(name).site;
    retention.learn(GROUP, this.needed());
    await retention.pass();
    if (crashAt === undefined) return collector.pass();
    let writes = 0;
    const dying = <Method extends 'mark' | 'beginErasure' | 'endErasure'>(method: Method): void => {
      const real = journal.collection[method].bind(journal.collection) as (...given: unknown[]) => unknown;
      journal.collection[method] = ((...given: unknown[]) => {
        if (writes++ >= crashAt) throw new Error('killed');
        return real(...given);
      }) as never;
    };
    for (const method of ['mark', 'beginErasure', 'endErasure'] as const) dying(method);
    const erase = store.eraseBlobs.bind(store);
    store.eraseBlobs = (digests) => {
      if (writes++ >= crashAt) throw new Error('killed');
      erase(digests);
    };
    await collector.pass().catch(() => undefined);
    await this.restart(name);
  }

  needed(): string[] {
    return [...new Set([...this.acknowledged.values(), ...this.line.slice(-1).map(({ digest }) => digest)])];
  }

  /** Checks that every object is there that must be there in this history. */
  async check(): Promise<void> {
    for (const name of NAMES) {
      const { store } = this.at(name).site;
      const heads = [...new Set([this.acknowledged.get(name), ...this.needed()])];
      for (const digest of heads) {
        const one = this.line.find((captured) => captured.digest === digest);
        if (one === undefined || !this.arrivedMs.has(`${name} ${one.digest}`)) continue;
        expect(store.has(one.digest), `${name} keeps what it may be asked for`).toBe(true);
        for (const blob of blobsOf(one.generation)) expectSound(this.at(name), blob);
      }
      for (const { digest } of store.manifests())
        for (const blob of blobsOf((await store.verified(digest)).generation)) expectSound(this.at(name), blob);
      const nowMs = this.network.clock.monotonicMs();
      for (const { entry, digest } of this.deletions()) {
        const sinceMs = this.arrivedMs.get(`${name} ${digest}`);
        if (sinceMs === undefined || nowMs - sinceMs >= Math.max(this.retentionMs, FLOORS_MS[name]) - LOST_MS) continue;
        if (entry.blobSha256 !== undefined) expectSound(this.at(name), entry.blobSha256);
      }
    }
  }

  /** Each with the generation that deletes it. */
  deletions(): { entry: Entry; digest: string }[] {
    return this.line.flatMap(({ generation, digest }, at) => {
      const now = new Set(generation.entries.map(({ objectId }) => objectId));
      const before = this.line[at - 1]?.generation.entries ?? [];
      return before.filter(({ objectId }) => !now.has(objectId)).map((entry) => ({ entry, digest }));
    });
  }

  /** Time passes, everybody catches up, and is heard. */
  async settle(): Promise<void> {
    for (let round = 0; round < 3; round += 1) {
      await this.network.clock.advance(this.retentionMs + FLOOR_MS_MAX);
      await this.capture();
      for (const name of NAMES) await this.replicate(name);
      for (let pass = 0; pass < 4; pass += 1) {
        for (const name of NAMES) await this.collect(name);
        await this.network.clock.advance(FLOOR_MS_MAX + DAY_MS);
      }
    }
  }

  async checkGone(): Promise<void> {
    const newest = this.line.at(-1);
    if (newest === undefined) return;
    const live = new Set(blobsOf(newest.generation));
    expect(newest.generation.tombstones).toEqual([]);
    for (const name of NAMES) {
      const { store, journal } = this.at(name).site;
      const divergent = new Set(
        journal.findings.divergent({ group: GROUP, serial: `${name}-1` }).map(({ digest }) => digest),
      );
      const kept = new Set(live);
      for (const { digest, epoch } of store.manifests())
        if (epoch === 0n || divergent.has(digest))
          for (const blob of blobsOf((await store.verified(digest)).generation)) kept.add(blob);
      const counted = journal.collection.buried(GROUP).filter(({ blobs }) => !blobs.some((blob) => kept.has(blob)));
      expect(counted, `${name} counts what is gone`).toEqual([]);
      // A site that was away for long still receives the deletions of that time.
      expect(
        journal.findings.divergent({ group: GROUP, serial: `${name}-1` }),
        `${name} keeps nothing alive that was deleted`,
      ).toEqual([]);
      const deleted = this.deletions().flatMap(({ entry }) => entry.blobSha256 ?? []);
      const left = deleted.filter((blob) => !kept.has(blob) && store.hasBlob(blob));
      expect(left, `${name} holds what has expired`).toEqual([]);
      const named = new Set<string>();
      for (const { digest } of store.manifests())
        for (const blob of blobsOf((await store.verified(digest)).generation)) named.add(blob);
      expect(await store.blobsBeside(named), `${name} holds what nothing names`).toEqual([]);
    }
  }

  async #distribute(): Promise<void> {
    const members = NAMES.flatMap((site) => [`${site}-1`, `${site}-2`]).map((serial) => ({
      site: address(serial[0]!),
      serial,
    }));
    const site = this.at(this.active);
    this.#renew(site);
    const { failures } = await site.call('distributeDomainKey', { fence: this.by, version: this.version, members });
    invariant(failures?.length === 0, 'the domain key did not reach everybody');
  }

  #renew({ site }: SimulatedSite): void {
    const sentAtMs = this.network.clock.monotonicMs();
    site.leases.grant({ group: GROUP, epoch: this.epoch, sentAtMs, selfStopMs: 15_000 });
  }

  #sources(name: Name) {
    return NAMES.filter((other) => other !== name).map(address);
  }

  #arrived(name: Name, digest: string): void {
    const key = `${name} ${digest}`;
    if (!this.arrivedMs.has(key)) this.arrivedMs.set(key, this.network.clock.monotonicMs());
  }
}

const labelOf = ({ label }: { label?: Uint8Array }): string => Buffer.from(label ?? []).toString();

function blobsOf({ entries, dataKeys, tombstones }: Generation): string[] {
  const sealed = [...entries, ...dataKeys, ...tombstones.flatMap(({ entry, dataKey }) => [entry, dataKey])];
  return sealed.flatMap((one) => one?.blobSha256 ?? []);
}

function expectSound({ name, site: { store } }: SimulatedSite, blob: string): void {
  expect(store.hasBlob(blob), `${name} has sealed object ${blob}`).toBe(true);
  expect(sha256Hex(store.blob(blob))).toBe(blob);
}

it('erases nothing that may be asked for, and in the end everything that has expired', {
  timeout: 240_000,
}, async () => {
  const retentions = fc.constantFrom(DAY_MS, 10 * DAY_MS, 30 * DAY_MS);
  await fc.assert(
    fc.asyncProperty(steps, retentions, async (history, retentionMs) => {
      const model = new History(retentionMs);
      try {
        await model.begin();
        for (const step of history) {
          await model.run(step);
          await model.check();
        }
        await model.settle();
        await model.check();
        await model.checkGone();
      } finally {
        model.network.close();
      }
    }),
    { numRuns: Number(process.env['COLLECTOR_RUNS'] ?? 8) },
  );
});
