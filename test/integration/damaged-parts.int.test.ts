/** A bit that flips in a part of an RSA key which the token signs without is found by the next scrub all the same (I13). */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { scrub } from '@antipode/hsm-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Journal } from '../../services/site-agent/src/journal.ts';
import { remembering } from '../../services/site-agent/src/prints.ts';
import { flags, id, label } from '../attacks/support/templates.ts';
import { filesOf, flipAttribute } from '../support/raw-token.ts';
import { makeRsa, TokenPair } from '../support/token-pair.ts';

let pair: TokenPair;
let journal: Journal;
let folder: string;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());
beforeEach(() => {
  folder = mkdtempSync(join('/dev/shm', 'antipode-prints-'));
  journal = new Journal(folder);
});
afterEach(async () => {
  journal.close();
  rmSync(folder, { recursive: true });
  await pair.empty();
});

const PARTS = { p: 0x124, q: 0x125, dP: 0x126, dQ: 0x127, qInv: 0x128 };

it.each(Object.entries(PARTS))('%s', async (_part, type) => {
  const own = filesOf(pair.b.token);
  await makeRsa(pair.source, [...label('rsa'), ...id(Uint8Array.of(7))], ...flags({ sign: true }));
  const target = await pair.replicate();
  const proof = async () => {
    const { provider, keyring } = pair.b;
    const remembered = remembering(provider, { journal, device: 'b' });
    return (await scrub({ provider: remembered, keyring, target, known: new Map() })).proof;
  };
  expect(await proof()).toMatchObject({ proved: 2, failed: 0 });
  await pair.restart();
  expect(await proof()).toMatchObject({ proved: 2, failed: 0 });
  expect(flipAttribute(pair.b.token, type, { but: own })).toBe(1);
  await pair.restart();
  const { entries } = target.generation;
  const { objectId } = entries.find(({ objectClass }) => objectClass === 'private-key')!;
  expect(await proof()).toMatchObject({ proved: 1, failed: 1, failedObjectIds: [objectId] });
  // It stays so: what is damaged does not become what is compared with.
  expect(await proof()).toMatchObject({ failed: 1 });
});
