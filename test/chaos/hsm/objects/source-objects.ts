/** The contents of the source, by names of the test, and their changes from each generation to the next. */
import type { KeyObject } from 'node:crypto';
import { CKA, type Cryptoki, type Template } from '@antipode/cryptoki';
import type { Seen } from '../judge/token-reader.ts';
import type { Movement } from '../options.ts';
import {
  aesKey,
  certificate,
  dataObject,
  EXTRACTABLE,
  ecPair,
  hmacKey,
  ID,
  type KnownObject,
  LABEL,
  rsaPair,
} from './known-objects.ts';

/** How an object is called in the token: names prove nothing, and several objects share them. */
export interface Names {
  readonly label: string;
  readonly id: string;
}

const PAIRS = {
  signer: { pair: () => ecPair('P-256'), id: '04' },
  issuer: { pair: rsaPair, id: '05' },
  'new signer': { pair: () => ecPair('P-384'), id: '08' },
  'new issuer': { pair: rsaPair, id: '09' },
};

const SINGLES: Readonly<Record<string, { make: () => KnownObject; id: string }>> = {
  'card key': { make: () => aesKey(), id: '01' },
  'wrapping key': { make: () => aesKey({ use: 'wrap' }), id: '02' },
  'old key': { make: () => aesKey(), id: '03' },
  mac: { make: () => hmacKey(), id: '06' },
  'odd mac': { make: () => hmacKey(77), id: '0d' },
  'new odd mac': { make: () => hmacKey(99), id: '0e' },
  'new card key': { make: () => aesKey(), id: '07' },
  agreement: { make: () => ecPair('P-256', 'derive').privateKey, id: '0a' },
  'late key': { make: () => aesKey(), id: '0b' },
  'last key': { make: () => aesKey(), id: '0c' },
  certificate: { make: certificate, id: '05' },
  settings: { make: dataObject, id: '' },
  'new settings': { make: dataObject, id: '' },
};

export class SourceObjects {
  readonly #movement: Movement;
  readonly #objects = new Map<string, KnownObject>();
  readonly #names = new Map<string, Names>();

  constructor(movement: Movement) {
    this.#movement = movement;
    for (const [label, { pair, id }] of Object.entries(PAIRS)) {
      const { privateKey, publicKey } = pair();
      this.#add(label, privateKey, { label, id });
      this.#add(`${label} (public)`, publicKey, { label, id });
    }
    for (const [label, { make, id }] of Object.entries(SINGLES)) this.#add(label, make(), { label, id });
  }

  get publicKeys(): KeyObject[] {
    return [...this.#objects.values()].flatMap(({ publicKey }) => publicKey ?? []);
  }

  /** Names that it is to have in a token, and its template with them. */
  template(name: string, names: Partial<Names> = {}): Template {
    const { label, id } = { ...this.#names.get(name)!, ...names };
    const template = this.#objects.get(name)!.template.map(([type, value]): Template[number] => {
      const isWay = type === EXTRACTABLE && this.#movement === 'native';
      return isWay ? [type, false] : [type, value];
    });
    return [...template, [LABEL, Buffer.from(label)], ...(id === '' ? [] : [[ID, Buffer.from(id, 'hex')] as const])];
  }

  /** In a session on the source. */
  within(cryptoki: Cryptoki, session: bigint): SourceSession {
    const remove = (name: string): void => {
      const { label, id } = this.#names.get(name)!;
      const objectClass = this.#objects.get(name)!.template.find(([type]) => type === CKA.CLASS)!;
      const like: Template = [objectClass, [LABEL, Buffer.from(label)]];
      const found = cryptoki.find(session, id === '' ? like : [...like, [ID, Buffer.from(id, 'hex')]]);
      if (found.length !== 1) throw new Error(`the source holds ${found.length} of ${name}, expected one`);
      cryptoki.destroy(session, found[0]!);
    };
    const add = (name: string): void => void cryptoki.create(session, this.template(name));
    const rename = (name: string, names: Partial<Names>): void => {
      remove(name);
      this.#names.set(name, { ...this.#names.get(name)!, ...names });
      add(name);
    };
    return { add, remove, rename };
  }

  /** @throws unless every object of the source works, and gives what software says that it must */
  check(objects: readonly Seen[]): void {
    const fingerprints = new Set([...this.#objects.values()].map(({ fingerprint }) => fingerprint));
    const strange = objects.filter(({ fingerprint }) => fingerprint === undefined || !fingerprints.has(fingerprint));
    if (strange.length > 0) throw new Error(`the source holds what nobody made: ${JSON.stringify(strange)}`);
  }

  #add(name: string, object: KnownObject, names: Names): void {
    this.#objects.set(name, object);
    this.#names.set(name, names);
  }
}

export interface SourceSession {
  add(name: string): void;
  remove(name: string): void;
  /** The same value under other names: another object of the token, the same of the group. */
  rename(name: string, names: Partial<Names>): void;
}

type Change = (source: SourceSession) => void;

/** What makes generation 1, 2, 3, 4. The third is sealed under another domain key than the second. */
export const CHANGES: readonly Change[] = [
  ({ add }) => {
    for (const name of ['card key', 'wrapping key', 'old key', 'signer', 'signer (public)', 'issuer']) add(name);
    for (const name of ['issuer (public)', 'mac', 'odd mac', 'certificate', 'settings']) add(name);
  },
  ({ add, remove, rename }) => {
    for (const name of ['new card key', 'new signer', 'new signer (public)', 'new issuer']) add(name);
    for (const name of ['new issuer (public)', 'new settings']) add(name);
    rename('card key', { label: 'card key, second' });
    rename('signer', { id: '14' });
    rename('mac', { label: 'mac, second' });
    rename('odd mac', { label: 'odd mac, second' });
    remove('old key');
  },
  ({ add, remove, rename }) => {
    for (const name of ['agreement', 'late key']) add(name);
    rename('card key', { label: 'card key, third' });
    rename('issuer', { label: 'issuer, second' });
    remove('new card key');
  },
  ({ add, rename }) => {
    add('last key');
    add('new odd mac');
    rename('card key', { label: 'card key, fourth' });
    rename('new signer', { id: '18' });
    rename('settings', { label: 'settings, second' });
  },
];
