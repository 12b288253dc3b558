/**
 * The messages between an agent and its HSM worker: calls of the provider's methods, and their answers. The table of
 * methods is held to the contract by the compiler: one that the contract gains and the table does not have is an error.
 */
import type { ErrorCode, ErrorDetails } from '@antipode/runtime';
import type { HsmProvider } from '../../provider/provider.ts';
import type { CallCount } from './call-tally.ts';
import type { GroupEpoch } from './epoch-floors.ts';

/** A provider's methods that are one call of its worker. Closing ends the process too. */
export type Method = Exclude<keyof HsmProvider, 'close'>;
export type Methods = Pick<HsmProvider, Method>;

/**
 * `short`: a handful of operations of the token, however large the partition is. `write`: changes what lies in the token
 * (epoch-floors.ts). Session objects, which end with the worker, do not count.
 */
export const METHODS = {
  describe: 'short',
  look: 'long',
  inventory: 'long',
  read: 'long',
  destroy: 'long write',
  hide: 'long write',
  generateIdentity: 'short write',
  findIdentity: 'short',
  generateReceivingKey: 'long write',
  findReceivingKey: 'long',
  generateOfficerKey: 'long write',
  findOfficerKey: 'long',
  trustKeys: 'long write',
  signAsIdentity: 'short',
  findDomainKey: 'short',
  destroyDomainKey: 'short write',
  findUnder: 'long',
  findMarked: 'long',
  generateDomainKey: 'short',
  generateEphemeral: 'short',
  deriveExchangeKey: 'short',
  wrapDomainKey: 'short',
  installDomainKey: 'long write',
  lendDomainKey: 'short',
  openTrustedDelivery: 'long',
  forget: 'long',
  wrap: 'long',
  generateDataKey: 'short',
  sealData: 'long',
  tagData: 'long',
  tagBytes: 'long',
  tagSecrets: 'long',
  generateExactKey: 'long',
  sealSecrets: 'long',
  unwrap: 'long write',
  create: 'long write',
  unwrapDataKey: 'short',
  createData: 'long write',
  openExactKey: 'long',
  unwrapSecrets: 'long write',
  takeNative: 'long',
  putNative: 'long write',
  cloneNative: 'long write',
  prove: 'long',
  makeVectors: 'long',
  challenge: 'long',
  stampStore: 'short',
} as const satisfies Record<Method, 'short' | 'long' | 'short write' | 'long write'>;

/** The provider whose every method is answered by `call`. */
export function methodsBy(call: (method: Method, args: readonly unknown[]) => Promise<unknown>): Methods {
  const names = Object.keys(METHODS) as Method[];
  // Object.fromEntries gives `any` for entries of unknown types: the table above is what is checked.
  return Object.fromEntries(names.map((method): unknown[] => [method, (...args: unknown[]) => call(method, args)]));
}

/** What {@link methodsBy} calls, on the other side. */
export function callMethod(methods: Methods, method: Method, args: readonly unknown[]): Promise<unknown> {
  return (methods[method] as (...parameters: readonly unknown[]) => Promise<unknown>).apply(methods, [...args]);
}

export interface Call {
  readonly id: number;
  readonly method: Method | 'open' | 'close';
  readonly args: readonly unknown[];
  /** The tenure for which the token is changed. */
  readonly tenure?: GroupEpoch | undefined;
}

export interface OpenOptions {
  /** Slots that are not asked for their token. */
  readonly skipped: readonly bigint[];
  /** Whether a change of the token needs a tenure, and the epochs that were persisted. */
  readonly isFenced: boolean;
}

/** Epochs that the agent has persisted. They count at once, also for calls that wait for their turn. */
export interface Floors {
  readonly floors: readonly GroupEpoch[];
}

/** Ends the copy by devices that the call with this id has asked for. */
export interface Abandon {
  readonly abandon: number;
}

export type ToWorker = Call | Floors | Abandon;

export type FromWorker =
  /** The calls of the module since the last message of this kind. */
  | { readonly id: number; readonly calls: readonly CallCount[] }
  /** The slot that is being asked for its token; none when that is over. */
  | { readonly id: number; readonly asking: bigint | undefined }
  /** The module has answered one of the calls that the work consists of. */
  | { readonly id: number; readonly isAlive: true }
  /** The call waits for devices that copy, beside all others, or is back in the line for the token. */
  | { readonly id: number; readonly isBeside: boolean }
  /** The next items of a long list, so that no message holds up either side. */
  | { readonly id: number; readonly part: readonly unknown[] }
  /** The end of an answer; its list, or the list that it has under this name, is in the parts before it. */
  | { readonly id: number; readonly result: unknown; readonly listAs?: string; readonly residentBytes: number }
  | {
      readonly id: number;
      readonly error: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly details: ErrorDetails;
        readonly hint?: string | undefined;
      };
    };
