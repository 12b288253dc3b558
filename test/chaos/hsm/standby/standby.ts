/**
 * The process that is killed: `node standby.ts <order as JSON>`. It applies and verifies a generation as an agent does,
 * with the agent's own journal, store, fences, partitions and worker. It pulls the generation from the store of the
 * source, one sealed object at a time, without a network between them. It reports its start and its end to its parent.
 */
import { existsSync } from 'node:fs';
import {
  ApplyRequestSchema,
  type PullBlobsRequest,
  type PullManifestRequest,
  VerifyRequestSchema,
} from '@antipode/protocol';
import { AntipodeError, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import type { PartitionSettings, Peer } from '@antipode/site-agent/testing';
import {
  ApprovalRules,
  apply,
  buildSite,
  GenerationStore,
  type OpenPartition,
  type Partition,
  Partitions,
  Touched,
  Transfer,
  Trust,
  verify,
  workerPartitions,
} from '@antipode/site-agent/testing';
import { create } from '@bufbuild/protobuf';
import type { Kill } from './kill.ts';
import { Steps, steppedJournal, steppedProvider, steppedStore } from './steps.ts';

export interface Order {
  readonly dataFolder: string;
  readonly settings: PartitionSettings;
  readonly group: string;
  readonly epoch: number;
  /** Of the manifest. */
  readonly digest: string;
  readonly kill: Kill;
  /** Whence generations come. */
  readonly source: { readonly storeFolder: string; readonly serial: string; readonly identity: string };
  /** A file that is there once the kill at a point has happened. */
  readonly mark: string;
}

export type FromStandby =
  | { readonly kind: 'applying' }
  /** Waits for the message to continue. */
  | { readonly kind: 'worker-killed' }
  | {
      readonly kind: 'acknowledged';
      readonly steps: readonly string[];
      readonly callMs: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'failed'; readonly why: string };

const SOURCE = { site: 'source', role: 'member' } as const;

/** As often as a runner tries before a person has to look. */
const TRIES_MAX = 4;

const order = JSON.parse(process.argv[2] ?? '') as Order;
process.on('disconnect', () => process.exit(1));

const steps = new Steps(order.kill);
const journal = steppedJournal(order.dataFolder, steps);
const store = steppedStore(GenerationStore.open(order.dataFolder, { clock: systemClock }), steps);
const sourceStore = GenerationStore.open(order.source.storeFolder, { clock: systemClock });
const partitions = workerPartitions({
  settings: [order.settings],
  journal,
  dataFolder: order.dataFolder,
  clock: systemClock,
  log: silentLog,
});
const partition = partitions.all[0]!;
const site = buildSite({
  name: 'standby',
  instance: 'standby',
  version: '0',
  clock: systemClock,
  prng: systemPrng,
  log: silentLog,
  journal,
  store,
  partitions: new Partitions([steppedPartition(partition)]),
  peers: {
    client: () => served(),
    learn: () => {},
    keepWarm: async () => {},
    close: async () => {},
  },
  pins: { of: () => [{ ...SOURCE, serial: order.source.serial, identity: order.source.identity }] },
  approvalRules: new ApprovalRules(undefined),
  loopDelay: { maxMs: () => 0 },
  collectGarbage: () => {},
  deletedRetentionMsMin: 0,
  eraseGraceMs: 0,
});

/** The agent of the source, as far as it serves generations. */
function served(): Peer {
  const transfer = new Transfer({
    store: sourceStore,
    peers: { client: () => served() },
    trust: Object.assign(Object.create(Trust.prototype) as Trust, { knowsSite: () => true }),
    log: silentLog,
    clock: systemClock,
  });
  async function* singly(request: PullBlobsRequest): AsyncIterable<{ blobs: Uint8Array[] }> {
    for await (const { blobs } of transfer.blobs(request, 'standby')) for (const blob of blobs) yield { blobs: [blob] };
  }
  return Object.assign(Object.create(null) as Peer, {
    pullManifest: (request: PullManifestRequest) => transfer.manifest(request, 'standby'),
    pullBlobs: singly,
  });
}

function stepped(open: OpenPartition): OpenPartition {
  const provider = steppedProvider(open.provider, steps);
  const under: OpenPartition['under'] = (tenure) => stepped(open.under(tenure));
  return new Proxy(open, {
    get: (target, name) => (name === 'provider' ? provider : name === 'under' ? under : Reflect.get(target, name)),
  });
}

function steppedPartition(real: Partition): Partition {
  const use: Partition['use'] = (work, signal) => real.use((open: OpenPartition) => work(stepped(open)), signal);
  return new Proxy(real, { get: (target, name) => (name === 'use' ? use : Reflect.get(target, name, target)) });
}

const say = (message: FromStandby): Promise<void> => new Promise((resolve) => process.send!(message, () => resolve()));

async function replicate(touched: Touched): Promise<void> {
  const fence = { group: order.group, epoch: BigInt(order.epoch), owner: 'source', requestId: 'kill' };
  const generation = { manifestDigest: Buffer.from(order.digest, 'hex') };
  const sources = [{ site: SOURCE.site, address: 'none' }];
  await apply(site, touched, create(ApplyRequestSchema, { fence, generation, sources }));
  const { proof } = await verify(site, touched, create(VerifyRequestSchema, { fence, generation }));
  if (journal.heads.of({ group: order.group, serial: partition.serial! }, 'applied') === order.digest) return;
  throw new AntipodeError('OBJECT_UNPROVEN', `it does not verify: ${JSON.stringify(proof)}`);
}

let isTold = false;
const isKilledAtPoint = (): boolean => order.kill.at === 'point' && !isTold && existsSync(order.mark);

async function run(): Promise<FromStandby> {
  await partition.warmUp();
  await say({ kind: 'applying' });
  const touched = new Touched();
  const failures: string[] = [];
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    try {
      await replicate(touched);
      return { kind: 'acknowledged', steps: steps.names, callMs: steps.callMs };
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      failures.push(error.stack ?? error.message);
      if (steps.hasKilledWorker || isKilledAtPoint()) {
        steps.hasKilledWorker = false;
        isTold = true;
        await say({ kind: 'worker-killed' });
        await new Promise((resolve) => process.once('message', resolve));
      }
    }
  }
  return { kind: 'failed', why: failures.join('\n') };
}

await say(await run().catch((thrown): FromStandby => ({ kind: 'failed', why: String((thrown as Error).stack) })));
await partitions.close();
sourceStore.close();
store.close();
journal.close();
process.exit(0);
