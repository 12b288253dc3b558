import { type GetRevocationsResponse, GetRevocationsResponseSchema, signedListMessage } from '@antipode/protocol';
import { SomeOperators, someRevocation, someRevocations } from '@antipode/protocol/testing';
import { AntipodeError } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { readAnswers } from './revocation-desk.ts';

const operators = new SomeOperators();
const rules = operators.revocationRules;
const first = someRevocations();
/** It lets everybody in again, and only its maker has signed it. */
const forged = someRevocations([], undefined, { version: 99, previous: 'ab'.repeat(32) });

const answer = (signed: { list: Uint8Array; signatures: readonly { operator: string; signature: Uint8Array }[] }) =>
  create(GetRevocationsResponseSchema, {
    state: { version: 1, hasRules: true },
    list: signedListMessage(signed),
  }) as GetRevocationsResponse;

describe('the newest list', () => {
  const honest = { process: 'site/a', answer: answer(operators.signRevocations(first)) };
  const liar = { process: 'coordinator/main', answer: answer(operators.signRevocations(forged, ['alice'])) };

  it('is one that operators have signed, whatever version another process claims', () => {
    const { newest, processes } = readAnswers([liar, honest], rules);
    expect(newest?.list.entries).toEqual([someRevocation()]);
    expect(processes.map(({ process, problem }) => [process, problem])).toEqual([
      ['coordinator/main', 'REVOCATION_LIST_UNSIGNED'],
      ['site/a', ''],
    ]);
  });

  it('is found although another process sends something else, or nothing', () => {
    const odd = { process: 'site/b', answer: answer({ list: Buffer.from('{'), signatures: [] }) };
    const away = { process: 'site/c', error: new AntipodeError('TIMED_OUT', 'no answer') };
    const { newest, processes } = readAnswers([odd, away, honest], rules);
    expect(newest?.list.version).toBe(1);
    expect(processes.map(({ problem }) => problem)).toEqual(['REVOCATION_LIST_INVALID', 'TIMED_OUT', '']);
  });

  it('is the highest version where nobody can tell whose signatures count', () => {
    expect(readAnswers([liar, honest], undefined).newest?.list.version).toBe(99);
  });
});
