/** The facts that the conformance suite needs about a device, and the partitions that it hands to each promise. */
import type { Handle, ObservedObject } from '../../model/object.ts';
import type { HsmProvider } from '../../provider/provider.ts';
import type { Planted, SoftwareDomain } from '../software-domain.ts';

/**
 * Things that a device cannot do:
 *
 * - `rsa`, `p-384`, `des3`, `hmac-keys`: it has no such keys.
 * - `data-objects`: it keeps none.
 * - `second-key-per-id`: it keeps one key of a class per CKA_ID.
 * - `restrictions`: it cannot forbid copies and destruction.
 * - `exact-secrets`: it does not carry secrets byte for byte.
 * - `native-cloning`: it clones nothing.
 * - `half-made-keys`, `full-storage`: tests have no way to bring them about.
 */
export type Lack =
  | 'rsa'
  | 'p-384'
  | 'des3'
  | 'hmac-keys'
  | 'data-objects'
  | 'second-key-per-id'
  | 'restrictions'
  | 'exact-secrets'
  | 'native-cloning'
  | 'half-made-keys'
  | 'full-storage';

/** A fresh partition for a test. */
export interface Subject {
  readonly provider: HsmProvider;
  /** Opens the same partition once more, as another application does. `remove` closes it. */
  openAnother(): Promise<HsmProvider>;
  /** Ends the process behind the provider in the middle of its work. */
  lose(): Promise<void>;
  /** Leaves every extractable key half made, as a kill in an unwrap does, and opens the partition again. */
  halve?(): Promise<HsmProvider>;
  /** Lets the given number of further objects fit, and no more. */
  limit?(objects: number): void;
  remove(): Promise<void>;
}

export interface ConformanceDevice {
  readonly name: string;
  /** Each with its reason, which the run prints for the promises that it skips. */
  readonly lacks: Readonly<Partial<Record<Lack, string>>>;
  /** Titles of the promises that cannot be tried on this device. */
  readonly skips: readonly string[];
  make(label: string): Promise<Subject>;
  /** A partition of another cloning domain. Needed where the device clones. */
  makeForeign?(label: string): Promise<Subject>;
}

/** Two partitions of the device, open. All promises of one run share them. */
export interface OpenPartitions {
  readonly subject: Subject;
  readonly provider: HsmProvider;
  /** A provider of another partition. */
  readonly other: HsmProvider;
  /** A domain key in the first partition, of which the test has the value. */
  readonly domain: SoftwareDomain;
  plant(...planted: Planted[]): Promise<readonly Handle[]>;
  read(handle: Handle): Promise<ObservedObject>;
  blobOf(handle: Handle): Promise<Uint8Array>;
  countObjects(): Promise<number>;
}

/** One chapter of the suite declares its promises with these. */
export interface Chapter {
  /** Declares a promise. The suite skips it if the device lacks one of `needs`. */
  promise(title: string, work: (open: OpenPartitions) => Promise<void>, ...needs: readonly Lack[]): void;
  has(what: Lack): boolean;
  make: ConformanceDevice['make'];
  makeForeign: ConformanceDevice['makeForeign'];
}
