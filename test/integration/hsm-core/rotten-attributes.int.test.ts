/** Damage of single attributes behind everybody's back is what a scrub says it is, one object's, and no other's. */
import { CKA, P256_PARAMS } from '@antipode/cryptoki';
import { scrub } from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { filesOf, flipAttribute } from '../../support/raw-token.ts';
import { makeAes, makePair, TokenPair } from '../../support/token-pair.ts';

describe('a bit that flips in a token', () => {
  let pair: TokenPair;
  beforeAll(async () => {
    pair = await TokenPair.make();
  });
  afterAll(() => pair.close());

  it.each([
    ['a label', ATTRIBUTES.label.type, { altered: 3 }],
    ['an ID', ATTRIBUTES.id.type, { altered: 3 }],
    ['the curve', CKA.EC_PARAMS, { lost: 2 }],
  ] as const)('in %s is found by a scrub, which ends', async (_what, type, found) => {
    const own = filesOf(pair.b.token);
    await makeAes(pair.source, ...label('secret'), ...id(Buffer.from('id of it')), ...flags({ encrypt: true }));
    await makePair(pair.source, P256_PARAMS, ...label('paired'), ...id(Buffer.from('id of them')));
    const sealed = await pair.replicate();
    expect(flipAttribute(pair.b.token, type, { but: own })).toBeGreaterThan(0);
    await pair.restart();
    const { provider, keyring } = pair.b;
    const report = await scrub({ provider, keyring, clock: systemClock, target: sealed, known: new Map() });
    const lost = report.missing.length + report.proof.failed;
    const expected = { altered: 0, lost: 0, ...found };
    expect({ altered: report.altered.length, lost }).toEqual(expected);
    expect(report.proof.proved).toBe(3 - expected.lost);
    await pair.empty();
  });
});
