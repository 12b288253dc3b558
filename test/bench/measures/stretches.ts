/**
 * The longest stretches of the agent's event loop in work that grows with a partition. Heartbeats, leases and
 * keep-alives share the loop. `node test/bench/measures/stretches.ts [objects]` prints one line of JSON: the longest
 * stretch of each step, in milliseconds. The token is a table in memory that answers in batches, because an HSM worker
 * is another process.
 */
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Handle, ObservedObject } from '@antipode/hsm-core';
import {
  CaptureMemory,
  captureGeneration,
  fingerprint,
  type HsmProvider,
  type Keyring,
  ReplicaMemory,
} from '@antipode/hsm-core';
import { contentDigestOf, recogniseReplica } from '@antipode/hsm-core/testing';
import { type Clock, seededPrng, sha256, sha256Hex, systemClock } from '@antipode/runtime';
import { GenerationStore, Journal } from '@antipode/site-agent/testing';
import { attributesOf, blobOf } from '../places/aes-key.ts';

const EVERY_MS = 5;

/** Runs one step, and watches it. */
type During = <T>(step: string, work: () => Promise<T>) => Promise<T>;

async function measureStretches(count: number): Promise<Record<string, number>> {
  const worst: Record<string, number> = {};
  await everyStep(count, {
    clock: systemClock,
    during: async (step, work) => {
      const watch = watchLoop();
      try {
        return await work();
      } finally {
        worst[step] = Math.round(await watch.worstMs());
      }
    },
  });
  return worst;
}

/** The steps of an agent with a whole partition or generation, one after the other. Calculations make way by `clock`. */
export async function everyStep(count: number, { clock, during }: { clock: Clock; during: During }): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-stretches-'));
  const store = GenerationStore.open(folder, { clock });
  const { provider, keyring, remove } = table(count);
  const capture = (memory: CaptureMemory, number: bigint, previous?: Awaited<ReturnType<GenerationStore['open']>>) =>
    captureGeneration({
      provider,
      keyring,
      clock,
      prng: seededPrng(`stretches ${number}`),
      memory,
      group: 'bench',
      epoch: 1n,
      number,
      domainKeyVersion: 1,
      previous,
      filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] },
      checkFence: () => {},
    });
  try {
    const memory = new CaptureMemory();
    const { sealed, blobs } = await during('first capture', () => capture(memory, 1n));
    if (sealed === undefined) throw new Error('nothing was captured');
    await during('store blobs', () => store.putAllBlobs(blobs.values()));
    await during('store generation', () => store.put(sealed));
    const reopened = GenerationStore.open(folder, { clock });
    try {
      const previous = await during('open generation', () => reopened.open(sealed.digest));
      await during('summary', () => reopened.summary(sealed.digest));
      await during('blobs of generation', () => reopened.blobsOf(sealed.digest, { group: 'bench' }));
      await during('check blobs', () => reopened.unsound([...blobs.keys()]));
      await during('capture after a restart', () => capture(new CaptureMemory(), 2n, previous));
      const journal = Journal.open(folder);
      const seat = { group: 'bench', serial: 'bench' };
      try {
        const memory = new ReplicaMemory();
        const replica = {
          provider,
          keyring,
          clock,
          memory,
          target: previous,
          previous: [],
          journal: journal.intents.ofApply(seat),
          checkFence: () => {},
        };
        await during('recognise a replica', () => recogniseReplica(replica));
        await during('digest of contents', async () => contentDigestOf(previous.generation));
        const intents = previous.generation.entries.map(({ objectId, objectClass }) => ({
          objectId,
          objectClass,
          id: new Uint8Array(),
          label: new Uint8Array(),
          attributesDigest: new Uint8Array(32),
        }));
        for (let first = 0; first < intents.length; first += 256)
          journal.intents.begin(seat, intents.slice(first, first + 256));
        const objectIds = intents.map(({ objectId }) => objectId);
        await during('stage generation', async () => journal.intents.stage(seat, { digest: sealed.digest, objectIds }));
      } finally {
        journal.close();
      }
      await during('capture without a change', () => capture(memory, 2n, previous));
      remove();
      await during('capture after a deletion', () => capture(memory, 2n, previous));
    } finally {
      reopened.close();
    }
  } finally {
    store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The most processor time that this thread spends between two turns of a timer: the delay of the loop on an idle
 * machine. The processor time of other processes is not counted.
 */
function watchLoop(): { worstMs(): Promise<number> } {
  const stop = new AbortController();
  let worst = 0;
  const spentMs = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1_000;
  };
  const watching = (async () => {
    while (!stop.signal.aborted) {
      const beforeMs = spentMs();
      await systemClock.sleep(EVERY_MS);
      worst = Math.max(worst, spentMs() - beforeMs);
    }
  })();
  return {
    worstMs: async () => {
      stop.abort();
      await watching;
      return worst;
    },
  };
}

/** A token of AES keys, with the attributes that SoftHSM gives. */
function table(count: number): { provider: HsmProvider; keyring: Keyring; remove: () => void } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicHalf = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const objects = Array.from({ length: count }, (_, index) => objectOf(index));
  const blobs = new Map(objects.map(({ handle }) => [handle, blobOf(Number(handle))]));
  let handles = BigUint64Array.from(objects.map(({ handle }) => handle));
  let looks = 0;
  const answering = async <T>(answer: () => T): Promise<T> => {
    await systemClock.sleep(0);
    return answer();
  };
  const provider: Partial<HsmProvider> = {
    describe: () =>
      answering(() => ({
        serial: '1',
        manufacturer: '',
        model: '',
        firmware: '',
        label: '',
        unenforced: [],
        silentSlots: [],
        freeSlots: 0,
      })),
    look: ({ since = 0 }: { since?: number }) =>
      answering(() => {
        looks += 1;
        return { number: looks, handles, objects: since > 0 ? [] : objects };
      }),
    read: (asked: readonly Handle[]) => answering(() => asked.map((handle) => objects[Number(handle)])),
    wrap: (_key: Handle, asked: readonly Handle[]) =>
      answering(() => asked.map((handle) => ({ handle, blob: blobs.get(handle)! }))),
    tagData: () => answering(() => []),
    tagBytes: (_key: Handle, values: readonly Uint8Array[]) => answering(() => values.map((value) => sha256(value))),
    signAsIdentity: (_key: Handle, message: Uint8Array) =>
      answering(() => new Uint8Array(sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }))),
  };
  const domainKey = { handle: -1n as Handle, version: 1, checkTag: new Uint8Array(32) };
  const keyring: Keyring = {
    identity: { handle: -2n as Handle, ckaId: new Uint8Array(16), publicHalf, sha256: fingerprint(publicHalf) },
    domainKey: () => domainKey,
    domainKeys: () => [domainKey],
    ownHandles: new Set(),
    missing: [],
    unrecorded: [],
  };
  const remove = (): void => {
    handles = handles.slice(1);
  };
  return { provider: provider as HsmProvider, keyring, remove };
}

const objectOf = (index: number): ObservedObject => ({
  handle: BigInt(index) as Handle,
  objectClass: 'secret-key',
  keyType: 'aes',
  sizeBits: 256,
  readDigest: sha256Hex(`read ${index}`),
  attributes: attributesOf(index),
});

if (process.argv[1] === import.meta.filename) {
  const count = Number(process.argv[2] ?? 100_000);
  const stretches = await measureStretches(count);
  process.stdout.write(`${JSON.stringify({ objects: count, stretchMsMax: stretches })}\n`);
}
