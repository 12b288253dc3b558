/**
 * Every kind of object that an application can keep in SoftHSM: captured, restored at a standby with every attribute that
 * the token shows, and used there by a client. All of them are in one token at once. The page of the device has the
 * table of what becomes of them; `KEY_TABLE=write` writes it again.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TokenPair } from '../../support/token-pair.ts';
import { isWhole, pageWith } from '../../support/zoo/table.ts';
import { type Finding, visit } from '../../support/zoo/visit.ts';
import { ZOO } from '../../support/zoo/zoo.ts';

const PAGE = 'docs/devices/softhsm2.md';

let pair: TokenPair;
let findings: readonly Finding[];
beforeAll(async () => {
  pair = await TokenPair.make({ withTrusted: true });
  findings = await visit(pair, ZOO);
  if (process.env['KEY_TABLE'] === 'write') writeFileSync(PAGE, pageWith(readFileSync(PAGE, 'utf8'), findings));
}, 120_000);
afterAll(() => pair?.close());

const kindsOf = (some: readonly Finding[]): string[] => some.map(({ kind }) => kind);

describe('of all kinds of objects', () => {
  it('none has another value or attribute at the standby than is reported', () => {
    expect(findings.filter(({ differs }) => differs.length > 0)).toEqual([]);
  });

  it('each that is captured serves a client at the standby', () => {
    const whole = findings.filter(isWhole);
    expect(whole.length).toBeGreaterThan(0);
    expect(whole.filter(({ used }) => used !== 'yes')).toEqual([]);
  });

  it('each is captured, refused with a reason, or refused by the token', () => {
    const unexplained = findings.filter(
      ({ captured, uncaptured, refusedByToken }) => captured + uncaptured.length === 0 && refusedByToken === undefined,
    );
    expect(kindsOf(unexplained)).toEqual([]);
  });

  it('the page of the device says what becomes of it', () => {
    const page = readFileSync(PAGE, 'utf8');
    expect(page).toBe(pageWith(page, findings));
  });
});
