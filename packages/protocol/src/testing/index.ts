/** The wire without a network, for tests and simulations. */

export { type Crossing, type Distortion, MemoryNetwork, type Party } from './memory-network.ts';
export { SomeOperators, someRequest, someRevocation, someRevocations } from './some-approvals.ts';
export { someHandlers } from './some-handlers.ts';
