/**
 * A partition in memory for tests. It has real cryptography over an object store, and the habits of real tokens that
 * have cost most (docs/devices/assumptions.md):
 *
 * - Handles die with the session.
 * - An unwrap loses length, dates and history. An interrupted unwrap leaves a visible half-made key.
 * - Storage ends. A device may lie, be busy, gone, locked or slow.
 *
 * It has P-256 keys and secrets.
 */
import { createHash } from 'node:crypto';
import { type Clock, hex, type Prng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { ATTRIBUTES, type Attributes, attributesOf } from '../model/attributes.ts';
import { KDFS, type Kdf } from '../model/kdf.ts';
import type { KeyType, ObservedObject } from '../model/object.ts';
import type { CaptureStamp } from '../provider/store-stamps.ts';
import { ecKey, pkcs8, publicHalfOf } from './simulated-crypto.ts';
import { checkLogin, type SimulatedFaults, soundToken, throughFaults } from './simulated-faults.ts';
import { SimulatedSession } from './simulated-session.ts';

/** One object of the token. Tests change `attributes` in place, as an application would. */
export interface StoredObject {
  readonly objectClass: ObservedObject['objectClass'];
  readonly keyType?: KeyType | 'unsupported';
  attributes: Attributes;
  /** Secret bytes, PKCS#8, or data. Absent in public objects, and in a key that was left half made. */
  value?: Uint8Array;
  /** SubjectPublicKeyInfo. */
  publicHalf?: Uint8Array;
  /** The size that the token reports. 0 if it reports none. */
  sizeBits: number;
  hasTemplate?: true;
  /** Of an object that was placed natively: names its blob and entry. */
  readonly placedAs?: string;
  /** The same for an object and all copies that devices have made of it. */
  readonly origin?: StoredObject;
}

export type StoreStamp = Pick<CaptureStamp, 'epoch' | 'number'>;

/** Called with a name before and after each change. It may throw, as a crash does. The session is lost then. */
export type Interrupt = (step: string) => void;

export class SimulatedHsm {
  readonly serial: string;
  readonly prng: Prng;
  readonly objects: StoredObject[] = [];
  /** How many token objects fit. */
  objectsMax = Number.POSITIVE_INFINITY;
  /** The value that a lying device stores instead of a restored one. */
  distort: (value: Uint8Array) => Uint8Array = (value) => value;
  /** Called before each look, counted from 1 for each session. Tests act here as other applications. */
  onInventory: (look: number) => void = () => {};
  /** A second key under a CKA_ID would overwrite the first, as in NSS. */
  keepsOnePerId = false;
  /** Gives the handle of an object that is gone to another one. */
  reusesHandles = false;
  /** Whether it digests secrets and carries them exactly. */
  offersExact = true;
  /** By which it agrees on keys. */
  kdfs: readonly Kdf[] = KDFS;
  /** Tokens with the same one are one cloning domain. Absent where the token clones nothing. */
  cloningKey: Uint8Array | undefined;
  /** Partitions that its client sees as sources, where devices copy keys among themselves. Absent where blobs move. */
  sees: SimulatedHsm[] | undefined;
  /** Whether clients of other partitions reach it. */
  isReached = true;
  /** Whether its clients see its store, so that captures stamp it. */
  hasStore = false;
  /** The stamps in its store, and those that its clients have put there last. */
  readonly stamps = new Map<string, StoreStamp>();
  readonly stampsPut = new Map<string, StoreStamp>();
  readonly faults: SimulatedFaults = soundToken();
  /** How many sessions it has opened. */
  sessionCount = 0;
  readonly #clock: Clock;

  constructor({ serial, prng, clock = new FakeClock() }: { serial: string; prng: Prng; clock?: Clock }) {
    this.serial = serial;
    this.prng = prng;
    this.#clock = clock;
  }

  /**
   * Opens a session with handles of its own, as a restart of the worker does.
   * @throws PARTITION_NOT_FOUND, PIN_LOCKED
   */
  open(interrupt: Interrupt = () => {}): SimulatedSession {
    checkLogin(this.serial, this.faults);
    return throughFaults(new SimulatedSession(this, interrupt), this.faults, this.#clock);
  }

  // --- what applications do ---

  addSecret(label: string, { bytes = 32, keyType = 'aes', ...attributes }: SecretOptions = {}): StoredObject {
    const value = this.prng.bytes(bytes);
    const uses = { encrypt: true, decrypt: true, startDate: '20260101' };
    // SoftHSM keeps the check value as an attribute, so damage to the value does not change it.
    const checkValue = createHash('sha256').update(value).digest().subarray(0, 3);
    return this.#add({
      objectClass: 'secret-key',
      keyType,
      value,
      sizeBits: bytes * 8,
      attributes: { ...named(label), ...KEY, ...uses, checkValue, ...attributes },
    });
  }

  /** Returns the private key. Its public half is another object. */
  addEcPair(label: string, attributes: Attributes = {}): StoredObject {
    const key = ecKey(this.prng);
    const publicHalf = publicHalfOf(key);
    const ecParams = Buffer.from('06082a8648ce3d030107', 'hex');
    this.#add({
      objectClass: 'public-key',
      keyType: 'ec',
      publicHalf,
      sizeBits: 256,
      attributes: { ...named(label), verify: true, ecParams, ecPoint: publicHalf.slice(-65), modifiable: true },
    });
    return this.#add({
      objectClass: 'private-key',
      keyType: 'ec',
      value: pkcs8(key),
      publicHalf,
      sizeBits: 256,
      attributes: { ...named(label), ...KEY, sign: true, ...attributes },
    });
  }

  addCertificate(label: string): StoredObject {
    const value = this.prng.bytes(200);
    return this.#add({
      objectClass: 'certificate',
      sizeBits: 0,
      attributes: { ...named(label), value, certificateType: 0, subject: this.prng.bytes(12), modifiable: true },
    });
  }

  addData(label: string, value: Uint8Array, more: Attributes = {}): StoredObject {
    const attributes = { label: Buffer.from(label), application: Buffer.from('app'), modifiable: true, ...more };
    return this.#add({ objectClass: 'data', value, sizeBits: 0, attributes });
  }

  #add(object: StoredObject): StoredObject {
    this.objects.push(object);
    return object;
  }

  remove(object: StoredObject): void {
    this.objects.splice(this.objects.indexOf(object), 1);
  }

  labelled(label: string): StoredObject[] {
    return this.objects.filter(({ attributes }) => Buffer.from(attributes.label ?? []).toString() === label);
  }

  /**
   * The objects of the token without its own keys, so that two tokens can be compared. Includes values, and ignores the
   * order.
   */
  contents(): string[] {
    return this.objects
      .filter(
        ({ attributes }) =>
          !Buffer.from(attributes.label ?? [])
            .toString()
            .startsWith('antipode '),
      )
      .map(({ objectClass, attributes, value, publicHalf }) => {
        const shown = attributesOf(objectClass as 'data').filter((name) => ATTRIBUTES[name].fate !== 'carried');
        const values = shown.map((name) => `${name}=${printable(attributes[name])}`);
        return [objectClass, hex(value ?? new Uint8Array()), hex(publicHalf ?? new Uint8Array()), ...values].join(' ');
      })
      .sort();
  }
}

type SecretOptions = Attributes & { readonly bytes?: number; readonly keyType?: KeyType };

const KEY: Attributes = {
  private: true,
  sensitive: true,
  extractable: true,
  local: true,
  alwaysSensitive: true,
  neverExtractable: false,
  modifiable: true,
};

const named = (label: string): Attributes => ({
  label: Buffer.from(label),
  id: createHash('sha256').update(label).digest().subarray(0, 8),
});

const printable = (value: unknown): string => (value instanceof Uint8Array ? hex(value) : JSON.stringify(value));
