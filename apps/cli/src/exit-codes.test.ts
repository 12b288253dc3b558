import { readFileSync } from 'node:fs';
import { AntipodeError, CATALOGUE, type ErrorCode } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { EXIT, EXIT_MEANINGS, exitCodeOf } from './exit-codes.ts';

const CODES = Object.keys(CATALOGUE) as ErrorCode[];
const exitOf = (code: ErrorCode): number => exitCodeOf(new AntipodeError(code, ''));

/** Scripts depend on these. Every other code ends with 1. */
const STABLE: Partial<Record<ErrorCode, number>> = {
  USAGE: 2,
  CONFIG_INVALID: 2,
  REQUEST_INVALID: 2,
  MANIFEST_INVALID: 3,
  BLOB_INVALID: 3,
  OBJECT_UNPROVEN: 3,
  DIGEST_MISMATCH: 3,
  DRILL_UNCLEAN: 3,
  PEER_NOT_PINNED: 5,
  DOMAIN_KEY_MISSING: 5,
  IDENTITY_MISSING: 5,
  PIN_REFUSED: 5,
  PIN_LOCKED: 5,
  EPOCH_STALE: 6,
  EPOCH_CONFLICT: 6,
  ROLE_REFUSED: 6,
  FAILOVER_REFUSED: 6,
  SCRATCH_REFUSED: 6,
  RESEAT_REFUSED: 6,
  NOT_SERVED: 6,
  SITE_QUARANTINED: 5,
  GROUP_CHANGED: 6,
  GROUP_CHANGE_REFUSED: 6,
  GROUP_CONTRADICTED: 5,
  GENERATION_LOST: 5,
  PEER_REFUSED: 6,
  OPERATOR_ROLE_INSUFFICIENT: 6,
  CERTIFICATE_REQUEST_INVALID: 3,
  CERTIFICATE_REVOKED: 6,
  REVOCATION_LIST_INVALID: 3,
  REVOCATION_LIST_UNSIGNED: 5,
  REVOCATION_LIST_OLD: 6,
  REVOCATION_RULES_MISSING: 5,
  ISSUER_MISSING: 5,
  SITE_TOKEN_INVALID: 2,
  SITE_TOKEN_REFUSED: 6,
  JOIN_NOT_OFFERED: 5,
  CERTIFICATE_AWAITED: 5,
  CLOCK_WRONG: 5,
  APPROVAL_REQUIRED: 5,
  APPROVAL_INVALID: 3,
  APPROVAL_INSUFFICIENT: 5,
  APPROVAL_EXPIRED: 6,
  APPROVAL_MISMATCH: 6,
  APPROVAL_USED: 6,
  TIMED_OUT: 7,
  SITE_UNREACHABLE: 7,
  INVARIANT_BROKEN: 70,
};

it('every error ends with an exit code that is explained, and never as if nothing had happened', () => {
  const explained = EXIT_MEANINGS.map(([code]) => code);
  for (const code of CODES) {
    expect(explained).toContain(exitOf(code));
    expect([EXIT.ok, EXIT.degraded, EXIT.interrupted]).not.toContain(exitOf(code));
  }
});

it('every exit code has one number and one meaning', () => {
  expect(EXIT_MEANINGS.map(([code]) => code)).toEqual(Object.values(EXIT));
  expect(new Set(Object.values(EXIT)).size).toBe(EXIT_MEANINGS.length);
  for (const [, meaning] of EXIT_MEANINGS) expect(meaning.trim()).not.toBe('');
});

it('the exit codes of errors are stable', () => {
  const special = CODES.filter((code) => exitOf(code) !== EXIT.error);
  expect(Object.fromEntries(special.map((code) => [code, exitOf(code)]))).toEqual(STABLE);
});

it('a defect, and nothing else, ends with 70', () => {
  for (const code of CODES) expect(exitOf(code) === EXIT.defect).toBe(CATALOGUE[code].disposition === 'defect');
});

it('every exit code, and no other, is in the table of docs/cli.md', () => {
  const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
  const [, table] = /\n\| status[^\n]*\n\|[-| ]+\n((?:\|[^\n]*\n)+)/.exec(page) ?? [];
  const codes = [...(table ?? '').matchAll(/^\| *(\d+) *\|/gm)].map(([, code]) => Number(code));
  expect(codes.sort((a, b) => a - b)).toEqual(Object.values(EXIT).sort((a, b) => a - b));
});
