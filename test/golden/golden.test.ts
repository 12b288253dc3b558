/**
 * One sealed generation for each format version, as the release that introduced it signed it. They are readable for ever:
 * these files are added to, never replaced. `generation-N.json` says what is in `generation-N.signed`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { openSigned } from '@antipode/hsm-core';
import { encodeManifest } from '@antipode/hsm-core/testing';
import { fromHex, hex } from '@antipode/runtime';
import { expect, it } from 'vitest';

const FOLDER = new URL('.', import.meta.url);
const contentsOf = (name: string): Buffer => readFileSync(new URL(name, FOLDER));

/** JSON has neither bytes nor large numbers: `{"bytes": "00ff"}` and `{"bigint": "1"}` stand for them. */
const expectedOf = (version: string) =>
  JSON.parse(contentsOf(`generation-${version}.json`).toString(), (_key, value) => {
    if (typeof value?.bytes === 'string') return fromHex(value.bytes);
    return typeof value?.bigint === 'string' ? BigInt(value.bigint) : value;
  });

const versions = readdirSync(FOLDER).flatMap((name) => /^generation-(\d+)\.signed$/.exec(name)?.[1] ?? []);

it('there is one for each format version', () => {
  expect(versions).toEqual(['1', '2', '3', '4', '5', '6']);
});

it.each(versions)('a generation of format %s is read as it was captured, and encoded as it was signed', (version) => {
  const { digest, contentDigest, signerSha256, generation } = expectedOf(version);
  const format = Number(version);
  const signed = contentsOf(`generation-${version}.signed`);
  const opened = openSigned(signed, { group: generation.group, isPinned: (one) => one === signerSha256 });
  expect([opened.digest, opened.contentDigest, opened.signerSha256]).toEqual([digest, contentDigest, signerSha256]);
  expect(opened.generation).toEqual(generation);
  expect(signed.includes(Buffer.from(encodeManifest(generation, { format })))).toBe(true);
  expect(hex(encodeManifest(opened.generation, { format }))).toBe(hex(encodeManifest(generation, { format })));
});
