/**
 * One kind of object in the zoo: how an application makes it in its token, and how a client uses it in another. All of
 * them live in one token, so each has names of its own; one whose names are what it is about tells how it is found.
 */
import { CKA, CKK, CKO, type Template } from '@antipode/cryptoki';
import type { ObservedObject } from '@antipode/hsm-core';
import { bytesEqual } from '@antipode/runtime';
import type { RawToken } from '../../attacks/support/raw-token.ts';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { PORTABLE } from '../token-pair.ts';
import type { TestToken } from '../tokens.ts';

/** An application at the source. */
export interface Maker {
  readonly source: RawToken;
  readonly token: TestToken;
  /** CKA_LABEL and CKA_ID of this specimen. */
  readonly names: Template;
  readonly label: Template;
  readonly id: Template;
}

/** Clients at the standby. */
export interface Visitor {
  readonly standby: RawToken;
  /** The one object of this class with the specimen's names. */
  find(objectClass: number): Promise<bigint>;
}

/** Whether the client found what it expects. */
export type Use = (visitor: Visitor) => Promise<boolean> | boolean;

export interface Specimen {
  readonly kind: string;
  /** The check by the client, for people. Absent if no client can use such an object. */
  readonly usedBy?: string;
  make(maker: Maker): Promise<Use | undefined>;
  /** For one that does not have the names that it is given. */
  isIt?(object: ObservedObject): boolean;
}

/** The CKA_ID of the specimen with this number: no other has it. */
export const idOf = (number: number): Uint8Array => Uint8Array.of(0x5a, number);

export const namesOf = (number: number): Template => [...labelOf(number), ...id(idOf(number))];
export const labelOf = (number: number): Template => label(`zoo ${String(number).padStart(2, '0')}`);

/** Whether the object belongs to this specimen, by its names. */
export function isNamed({ attributes }: ObservedObject, number: number): boolean {
  const [[, text]] = labelOf(number) as [[number, Uint8Array]];
  return (
    (attributes.id !== undefined && bytesEqual(attributes.id, idOf(number))) ||
    (attributes.label !== undefined && bytesEqual(attributes.label.subarray(0, text.length), text))
  );
}

export const secretOf = (keyType: number, value: Uint8Array, ...more: Template): Template => [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, keyType],
  ...overriding(PORTABLE, more),
  [CKA.VALUE, value],
  ...more,
];

export const aesOf = (value: Uint8Array, ...more: Template): Template => secretOf(CKK.AES, value, ...more);

export const privateOf = (keyType: number, ...more: Template): Template => [
  [CKA.CLASS, CKO.PRIVATE_KEY],
  [CKA.KEY_TYPE, keyType],
  ...overriding(PORTABLE, more),
  ...more,
];

export const publicOf = (keyType: number, ...more: Template): Template => [
  [CKA.CLASS, CKO.PUBLIC_KEY],
  [CKA.KEY_TYPE, keyType],
  [CKA.TOKEN, true],
  ...more,
];

/** SoftHSM lets a private key do what nobody asked for; a client names what it wants. */
export const ONLY_SIGNS = flags({ sign: true, derive: false });

const overriding = (template: Template, more: Template): Template => {
  const given = new Set(more.map(([type]) => type));
  return template.filter(([type]) => !given.has(type));
};
