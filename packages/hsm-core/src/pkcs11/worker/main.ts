/**
 * The HSM worker: a child process that serves one provider to the agent over its IPC channel. A vendor library may
 * block, leak or crash; here it harms one partition only. It dies with its parent, leaves no core file, and takes no
 * orders but the methods of HsmProvider, one at a time.
 */
import { type AnsweredCall, hardenProcess, translate } from '@antipode/cryptoki';
import { bytesIn, inBatches } from '../../objects/batches.ts';
import type { HsmProvider, Look } from '../../provider/provider.ts';
import { openProvider } from '../provider.ts';
import type { PartitionConfig } from '../session/session.ts';
import { CallTally } from './call-tally.ts';
import { EpochFloors } from './epoch-floors.ts';
import { type Beside, Line } from './line.ts';
import { type Call, callMethod, type FromWorker, type OpenOptions, type ToWorker } from './messages.ts';

harden();

let provider: HsmProvider | undefined;
const line = new Line();
/** Of the copies by devices that are asked for, by the call. */
const copies = new Map<number, AbortController>();
/** None in a worker that a person's command has started: it acts in no tenure. */
let floors: EpochFloors | undefined;

process.on('message', (message: ToWorker) => {
  if ('floors' in message) {
    floors ??= new EpochFloors();
    floors.raise(message.floors);
  } else if ('abandon' in message) copies.get(message.abandon)?.abort();
  else {
    if (message.method === 'cloneNative') copies.set(message.id, new AbortController());
    void line.run((beside) => serve(message, beside));
  }
});
process.on('disconnect', () => process.exit(0));

/** Beside the answers: a call that ends the work counts too, and a lost worker has told most of what it did. */
const tally = new CallTally();

function tellCalls(): void {
  const calls = tally.take();
  if (calls !== undefined) answer({ id: servingId, calls });
}

async function serve({ id, method, args, tenure }: Call, beside: Beside): Promise<void> {
  servingId = id;
  try {
    const result =
      method === 'open'
        ? await open(id, ...(args as [PartitionConfig, OpenOptions]))
        : await callProvider({ id, method, args, tenure }, beside);
    tellCalls();
    const end = { id, residentBytes: process.memoryUsage.rss() };
    if (method === 'look') {
      const { objects, ...rest } = result as Look;
      for (const part of inBatches(objects, bytesIn)) answer({ id, part });
      answer({ ...end, result: rest, listAs: 'objects' });
    } else if (Array.isArray(result)) {
      for (const part of inBatches(result, bytesIn)) answer({ id, part });
      answer({ ...end, result: [] });
    } else answer({ ...end, result });
  } catch (thrown) {
    tellCalls();
    const { code, message, details, ownHint } = translate(thrown);
    answer({ id, error: { code, message: message.replace(`[${code}] `, ''), details, hint: ownHint } });
  } finally {
    copies.delete(id);
  }
}

async function open(id: number, config: PartitionConfig, { skipped, isFenced }: OpenOptions): Promise<void> {
  if (isFenced) floors ??= new EpochFloors();
  // On its way before the call that may never return.
  const asking = (slot?: bigint): Promise<void> =>
    new Promise((resolve) => process.send?.({ id, asking: slot } satisfies FromWorker, () => resolve()));
  provider = await openProvider(config, { skipped, asking, answered });
}

/** A huge partition is listed by thousands of calls, and each of them that is answered is progress. */
const SIGN_OF_LIFE_MS = 500;
let servingId = 0;
let toldMs = 0;

/** From within the work, which lets nothing else run: a message to the parent leaves at once. */
function answered(call?: AnsweredCall): void {
  if (call !== undefined) tally.add(call);
  const nowMs = performance.now();
  if (nowMs - toldMs < SIGN_OF_LIFE_MS) return;
  toldMs = nowMs;
  tellCalls();
  answer({ id: servingId, isAlive: true });
}

function callProvider({ id, method, args, tenure }: Call, beside: Beside): Promise<unknown> {
  if (provider === undefined) throw new Error('the worker is not open');
  if (method === 'close') return provider.close();
  if (method === 'open') throw new Error('the worker is open');
  floors?.check(method, tenure);
  if (method !== 'cloneNative') return callMethod(provider, method, args);
  const [order] = args as Parameters<HsmProvider['cloneNative']>;
  const meanwhile: Beside = async (copying) => {
    answer({ id, isBeside: true });
    const result = await beside(copying);
    servingId = id;
    answer({ id, isBeside: false });
    // A higher epoch may have come while the devices copied. Nothing is changed under this one then.
    floors?.check(method, tenure);
    return result;
  };
  return provider.cloneNative({ ...order, signal: copies.get(id)!.signal, meanwhile });
}

function answer(message: FromWorker): void {
  process.send?.(message, ended);
}

/** Nobody listens any more. A message that cannot be sent then does not count as a crash. */
function ended(error: Error | null): void {
  if (error !== null) process.exit(0);
}

/** PIN and keys pass through this memory (I5). */
function harden(): void {
  hardenProcess();
  // The parent may have died before this took effect. The parent passes its own number, since in a container it may
  // well be 1.
  if (process.ppid !== Number(process.argv[2])) process.exit(0);
}
