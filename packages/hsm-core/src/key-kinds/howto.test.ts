/** The page on adding a kind of key, followed step by step. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { CKA, CKM, mechanism } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { describe, expect, it } from 'vitest';
import { OBJECT_IDENTIFIER, OCTET_STRING, tagged } from '../model/der.ts';
import type { Handle, KeyType } from '../model/object.ts';
import { Proof } from '../pkcs11/proving/proof.ts';
import { ObjectReader } from '../pkcs11/reading/object-reader.ts';
import { ed25519 } from '../testing/example-kind/ed25519.ts';
import { ec } from './ec.ts';
import type { KeyKind } from './key-kind.ts';

const ROOT = '../../../../';
const text = (path: string): string => readFileSync(new URL(`${ROOT}${path}`, import.meta.url), 'utf8');
const page = text('docs/howto/key-kind.md');

describe('the page on adding a kind of key', () => {
  it('shows the file that is tested here', () => {
    const [, shown = ''] = /```ts\n([\s\S]*?)\n```/.exec(page) ?? [];
    const source = text('packages/hsm-core/src/testing/example-kind/ed25519.ts');
    expect(shown).toBe(
      source
        .replaceAll("'../../key-kinds/", "'./")
        .replaceAll(/'\.\.\/\.\.\/(model|pkcs11)\//g, "'../$1/")
        .trimEnd(),
    );
  });

  it('names at most three files that exist', () => {
    const existing = [...page.matchAll(/^\| \d+ +\| `([^`]+)` +\| existing:/gm)].map(([, path = '']) => path);
    expect(existing.length).toBeGreaterThan(0);
    expect(existing.length).toBeLessThanOrEqual(3);
    expect(existing.filter((path) => !existsSync(new URL(`${ROOT}${path}`, import.meta.url)))).toEqual([]);
  });

  it('is right that the compiler asks for the kind of each key type', () => {
    const kinds = { ec };
    // @ts-expect-error three key types of the manifest have no kind here
    const all: { [Type in KeyType]: KeyKind & { readonly type: Type } } = kinds;
    expect(Object.keys(all)).toEqual(['ec']);
  });
});

describe('the example', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const subject = publicKey.export({ format: 'der', type: 'spki' });
  const params = Buffer.from(tagged(OBJECT_IDENTIFIER, Buffer.from('2b6570', 'hex')));
  const point = subject.subarray(-32);
  const shown =
    (encoded: Uint8Array) =>
    (type: number): Buffer | undefined =>
      type === CKA.EC_PARAMS ? params : type === CKA.EC_POINT ? Buffer.from(encoded) : undefined;

  it('reads the public half, in an OCTET STRING or bare, and no other curve', () => {
    for (const encoded of [point, tagged(OCTET_STRING, point)])
      expect(Buffer.from(ed25519.pair.publicHalf(shown(encoded))!)).toEqual(subject);
    expect(ed25519.pair.sizeBits(shown(point))).toBe(255);
    expect(ed25519.pair.publicHalf(shown(point.subarray(1)))).toBeUndefined();
    expect(ed25519.pair.publicHalf(() => undefined)).toBeUndefined();
  });

  it.each([
    ['proves a key that signs for its public half', privateKey, 'proved'],
    ['fails one that signs for another', generateKeyPairSync('ed25519').privateKey, 'failed'],
  ] as const)('%s', (_what, signing, outcome) => {
    const cryptoki = partialCryptoki({ sign: (_session, _mechanism, _key, data) => sign(null, data, signing) });
    const session = 1n;
    const proof = new Proof(
      {
        cryptoki,
        session,
        keyWrap: mechanism(CKM.AES_KEY_WRAP_KWP),
        domainKey: 2n,
        objects: new ObjectReader({ cryptoki, session, digestKey: new Uint8Array(32) }),
        loginForUse: () => {},
        tagData: () => undefined,
      },
      {
        handle: 3n as Handle,
        objectClass: 'private-key',
        sizeBits: 255,
        attributes: { sign: true },
        publicHalf: new Uint8Array(subject),
      },
    );
    ed25519.prove(proof);
    expect(proof.checks).toMatchObject([{ use: 'sign', outcome }]);
  });
});
