/**
 * The agent's side of the HSM worker: an HsmProvider whose calls are messages to a child process. When the process
 * ends, or a call takes too long, the provider is dead for good and says in which call.
 */
import type { HsmProvider } from '../../provider/provider.ts';
import type { PartitionConfig } from '../session/session.ts';
import type { GroupEpoch } from './epoch-floors.ts';
import { withIdentityIn } from './identity-elsewhere.ts';
import { methodsBy } from './messages.ts';
import { type WorkerOptions, WorkerProcess } from './worker-process.ts';

/** More than these, and it is the module that hangs. */
const SILENT_SLOTS_MAX = 4;

/** A provider whose process may be ended and started again by whoever has it, between two calls. */
export interface WorkerProvider extends HsmProvider {
  /** Resident memory of the worker at its last answer: PKCS#11 modules leak (facts: pkcs11, 1). */
  residentBytes(): number;
  /** Whether the worker has ended or was given up: every further call fails, so another one has to be opened. */
  isLost(): boolean;
  /** How long the module has not answered, though work waits for it; 0 where none does. Each of its answers counts. */
  unansweredMs(): number;
  /** For how long nobody has asked the module for anything; 0 while a call is under way. */
  idleMs(): number;
  /** The same partition, for changes in a tenure. They are refused once it knows a higher epoch of the group. */
  under(tenure: GroupEpoch): HsmProvider;
  /** Tells epochs that were persisted. They count for everything that has not begun. */
  raise(persisted: readonly GroupEpoch[]): void;
}

/**
 * Starts a worker for one partition and logs in.
 * @throws MODULE_UNAVAILABLE, PARTITION_NOT_FOUND, PIN_FILE_UNREADABLE, PIN_FILE_EXPOSED, PIN_REFUSED, PIN_LOCKED,
 * MECHANISM_MISSING, HSM_WORKER_LOST
 */
export async function openPartition(
  { identity, ...config }: PartitionConfig,
  options: WorkerOptions,
): Promise<WorkerProvider> {
  const partition = await openToken(config, options);
  if (identity === undefined) return partition;
  try {
    return withIdentityIn(partition, await openToken(identity, options));
  } catch (thrown) {
    await partition.close();
    throw thrown;
  }
}

async function openToken(config: PartitionConfig, options: WorkerOptions): Promise<WorkerProvider> {
  const worker = await openWorker(config, options, []);
  const under = (tenure?: GroupEpoch): HsmProvider => ({
    ...methodsBy((method, args) => worker.call({ method, args, tenure })),
    // Neither a signal nor a function can be sent.
    cloneNative: ({ signal, meanwhile: _, ...order }) =>
      worker.call({ method: 'cloneNative', args: [order], tenure, signal }) as ReturnType<HsmProvider['cloneNative']>,
    close: () => worker.close(),
  });
  return {
    ...under(),
    under,
    raise: (persisted) => worker.raise(persisted),
    residentBytes: () => worker.residentBytes,
    isLost: () => worker.isLost,
    unansweredMs: () => worker.unansweredMs,
    idleMs: () => worker.idleMs,
  };
}

/** A slot that never answers costs a worker: the next one does not ask it. */
async function openWorker(
  config: PartitionConfig,
  options: WorkerOptions,
  skipped: readonly bigint[],
): Promise<WorkerProcess> {
  const worker = new WorkerProcess(config, options);
  try {
    await worker.call({ method: 'open', args: [config, { skipped, isFenced: options.isFenced ?? false }] });
    await worker.call({ method: 'describe', args: [] });
    return worker;
  } catch (thrown) {
    await worker.close();
    if (worker.silentSlot === undefined || skipped.length >= SILENT_SLOTS_MAX) throw thrown;
    return openWorker(config, options, [...skipped, worker.silentSlot]);
  }
}
