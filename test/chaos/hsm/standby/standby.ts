/**
 * The process that is killed: `node standby.ts <order as JSON>`. It applies and verifies a generation as an agent does,
 * with the agent's own journal, store, fences, partitions and worker. It needs no network, because the generations are
 * in the store. It reports its start and its end to its parent.
 */
import { AntipodeError, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import type { PartitionSettings } from '../../../../services/site-agent/src/config.ts';
import { apply, type Touched } from '../../../../services/site-agent/src/orders/apply.ts';
import { Authority } from '../../../../services/site-agent/src/orders/authority.ts';
import { verify } from '../../../../services/site-agent/src/orders/verify.ts';
import {
  type OpenPartition,
  type Partition,
  Partitions,
} from '../../../../services/site-agent/src/partition/partitions.ts';
import { Mender } from '../../../../services/site-agent/src/peers/mending.ts';
import type { Transfer } from '../../../../services/site-agent/src/peers/transfer.ts';
import type { Site } from '../../../../services/site-agent/src/site.ts';
import { GenerationStore } from '../../../../services/site-agent/src/storage/generation-store.ts';
import { FenceKeeper } from '../../../../services/site-agent/src/tenure/fence.ts';
import { LeaseKeeper } from '../../../../services/site-agent/src/tenure/lease.ts';
import type { Kill } from './kill.ts';
import { Steps, steppedJournal, steppedProvider } from './steps.ts';

export interface Order {
  readonly dataFolder: string;
  readonly settings: PartitionSettings;
  readonly group: string;
  readonly epoch: number;
  /** Of the manifest. */
  readonly digest: string;
  readonly kill: Kill;
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

/** As often as a runner tries before a person has to look. */
const TRIES_MAX = 4;

const order = JSON.parse(process.argv[2] ?? '') as Order;
process.on('disconnect', () => process.exit(1));

const steps = new Steps(order.kill);
const journal = steppedJournal(order.dataFolder, steps);
const store = new GenerationStore(order.dataFolder);
const partitions = new Partitions({
  settings: [order.settings],
  journal,
  dataFolder: order.dataFolder,
  log: silentLog,
});
const partition = partitions.all[0]!;
const transfer = {
  pull: async ({ digest }: { digest: string }) => ({ sealed: await store.open(digest), blobs: 0, bytes: 0 }),
} as unknown as Transfer;
const fences = new FenceKeeper({ journal });
const leases = new LeaseKeeper({ clock: systemClock });
const site = {
  name: 'standby',
  clock: systemClock,
  prng: systemPrng,
  log: silentLog,
  journal,
  store,
  fences,
  authority: new Authority({ name: 'standby', journal, fences, leases }),
  partitions: { bySerial: () => steppedPartition(partition) },
  transfer,
  mender: new Mender({ journal, store, transfer, log: silentLog }),
} as unknown as Site;

function steppedPartition(real: Partition): Pick<Partition, 'use'> {
  return {
    use: (work, signal) =>
      real.use((open: OpenPartition) => {
        const provider = steppedProvider(open.provider, steps);
        return work(
          new Proxy(open, { get: (target, name) => (name === 'provider' ? provider : Reflect.get(target, name)) }),
        );
      }, signal),
  };
}

const say = (message: FromStandby): Promise<void> => new Promise((resolve) => process.send!(message, () => resolve()));

async function replicate(touched: Touched): Promise<void> {
  const fence = { group: order.group, epoch: BigInt(order.epoch), owner: 'source', requestId: 'kill' };
  const generation = { manifestDigest: Buffer.from(order.digest, 'hex') };
  await apply(site, touched, { fence, generation, sources: [] } as unknown as Parameters<typeof apply>[2]);
  const request = { fence, generation, everything: false } as unknown as Parameters<typeof verify>[2];
  const { proof } = await verify(site, touched, request);
  if (journal.head(order.group, 'applied') === order.digest) return;
  throw new AntipodeError('OBJECT_UNPROVEN', `it does not verify: ${JSON.stringify(proof)}`);
}

async function run(): Promise<FromStandby> {
  await partition.warmUp();
  await say({ kind: 'applying' });
  const touched: Touched = new Map();
  const failures: string[] = [];
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    try {
      await replicate(touched);
      return { kind: 'acknowledged', steps: steps.names, callMs: steps.callMs };
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      failures.push(error.stack ?? error.message);
      if (steps.hasKilledWorker) {
        steps.hasKilledWorker = false;
        await say({ kind: 'worker-killed' });
        await new Promise((resolve) => process.once('message', resolve));
      }
    }
  }
  return { kind: 'failed', why: failures.join('\n') };
}

await say(await run().catch((thrown): FromStandby => ({ kind: 'failed', why: String((thrown as Error).stack) })));
await partitions.close();
store.close();
journal.close();
process.exit(0);
