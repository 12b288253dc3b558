/** Insides of the agent, for tests outside of it. No program imports them. */
export type { PartitionSettings } from '../config.ts';
export { type CheckedPartition, checkOf } from '../objects/partition-check.ts';
export { apply, Touched } from '../orders/apply.ts';
export { OrderBook } from '../orders/order-book.ts';
export { verify } from '../orders/verify.ts';
export { type OpenPartition, type Partition, Partitions } from '../partition/partition.ts';
export { type RecyclePolicy, workerPartitions } from '../partition/worker-partition.ts';
export { remembering } from '../partition/wrap-digests.ts';
export { TlsPeers } from '../peers/tls-peers.ts';
export { Transfer } from '../peers/transfer.ts';
export { Trust } from '../peers/trust.ts';
export { buildSite } from '../site.ts';
export { GenerationStore } from '../storage/generation-store.ts';
export { Journal } from '../storage/journal/journal.ts';
export { LivingSite } from './living-site.ts';
