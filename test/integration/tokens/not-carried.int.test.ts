/** Attributes that no replica gets are reported, by object and name of the attribute (I13). */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CaptureResult } from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { flags, label } from '../../attacks/support/templates.ts';
import { certificateOf, dataOf, makeAes, TokenPair } from '../../support/token-pair.ts';

const [CKA_TRUSTED, CKA_URL, CKA_HASH_OF_SUBJECT_PUBLIC_KEY, CKA_HASH_OF_ISSUER_PUBLIC_KEY] = [0x86, 0x89, 0x8a, 0x8b];
const CKA_JAVA_MIDP_SECURITY_DOMAIN = 0x88;

let pair: TokenPair;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());

/** By label, what a capture has found. */
function found({ sealed, notCarried }: CaptureResult): Record<string, readonly string[]> {
  const { entries } = (sealed ?? pair.group.newest!).generation;
  return Object.fromEntries(
    entries
      .filter(({ objectId }) => notCarried.has(objectId))
      .map(({ objectId, attributes }) => [Buffer.from(attributes.label ?? []).toString(), notCarried.get(objectId)!]),
  );
}

it('of trust, dates that cannot be read, and what belongs to certificates; of nothing else', async () => {
  const { a, source, standby, group } = pair;
  execFileSync(
    process.execPath,
    [
      fileURLToPath(new URL('../../support/trusted-key.ts', import.meta.url)),
      a.token.config.module,
      a.token.label,
      '11223344',
      'trusted',
    ],
    { env: { ...process.env, ...a.token.environment }, stdio: 'pipe' },
  );
  await makeAes(source, ...label('plain'), ...flags({ encrypt: true, decrypt: true }));
  await makeAes(source, ...label('dated'), [ATTRIBUTES.endDate.type, Buffer.from('20300101')]);
  await source.create(dataOf(Buffer.from('data'), ...label('data')));
  await source.create(certificateOf(Buffer.alloc(300, 1), ...label('bare')));
  await source.create(
    certificateOf(
      Buffer.alloc(300, 2),
      ...label('full'),
      [CKA_URL, Buffer.from('http://a.example/b')],
      [CKA_HASH_OF_SUBJECT_PUBLIC_KEY, Buffer.alloc(20, 1)],
      [CKA_HASH_OF_ISSUER_PUBLIC_KEY, Buffer.alloc(20, 2)],
      [CKA_JAVA_MIDP_SECURITY_DOMAIN, 2],
    ),
  );
  await pair.restart();
  const captured = await group.capture(a);
  expect(found(captured)).toEqual({
    trusted: ['CKA_TRUSTED'],
    plain: [],
    dated: ['CKA_END_DATE'],
    data: [],
    bare: [],
    full: [
      'CKA_JAVA_MIDP_SECURITY_DOMAIN',
      'CKA_URL',
      'CKA_HASH_OF_SUBJECT_PUBLIC_KEY',
      'CKA_HASH_OF_ISSUER_PUBLIC_KEY',
    ],
  });
  // Indeed the replica does not have it.
  await pair.apply(captured.sealed!);
  for (const [name, type] of [['trusted', CKA_TRUSTED] as const, ['full', CKA_URL] as const]) {
    const [there] = await standby.find(label(name));
    expect([name, (await standby.attributes(there!, [type])).get(type)?.some(Boolean) ?? false]).toEqual([name, false]);
  }
  // An unchanged object is not read again, and its report stays.
  expect(found(await group.capture(a))).toEqual({});
});
