import { AntipodeError, silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { type Answer, hookFailed, type MoveQuestion, type Veto } from './hook.ts';
import { askVetoes } from './vetoes.ts';

const QUESTION: MoveQuestion = {
  type: 'may-move',
  group: 'payments',
  epoch: 1n,
  fromSite: 'a',
  toSite: 'b',
  cause: 'operator',
  lostGenerations: 0,
};
const veto = (name: string, answer: Answer | Error, ifUnanswered: Veto['ifUnanswered'] = 'refuse'): Veto => ({
  hook: {
    name,
    call: async () => {
      if (answer instanceof Error) throw answer;
      return answer;
    },
  },
  ifUnanswered,
});
const ask = (...vetoes: Veto[]): Promise<void> => askVetoes(vetoes, QUESTION, { log: silentLog });
const yes = { isAccepted: true, reason: '' };
const no = { isAccepted: false, reason: 'frozen' };

describe('a move', () => {
  it('may go on if no hook refuses, or none is configured', async () => {
    await expect(ask()).resolves.toBeUndefined();
    await expect(ask(veto('one', yes), veto('two', yes))).resolves.toBeUndefined();
  });

  it('is refused by one hook, and all that refuse are named', async () => {
    const error = await rejection(ask(veto('one', yes), veto('two', no), veto('three', { ...no, reason: '' })));
    expect([error.code, error.message]).toEqual([
      'FAILOVER_VETOED',
      '[FAILOVER_VETOED] group payments does not move to site b: hook two says no (frozen); hook three says no',
    ]);
  });

  it('waits for a hook that does not answer, unless its configuration says otherwise', async () => {
    const silent = hookFailed('one', 'it took too long');
    expect((await rejection(ask(veto('one', silent)))).code).toBe('FAILOVER_VETOED');
    await expect(ask(veto('one', silent, 'allow'))).resolves.toBeUndefined();
    expect((await rejection(ask(veto('one', silent, 'allow'), veto('two', no)))).message).toContain('hook two');
  });

  it('does not take a defect for an answer', async () => {
    const defect = new AntipodeError('INVARIANT_BROKEN', 'ours');
    expect((await rejection(ask(veto('one', defect, 'allow')))).code).toBe('INVARIANT_BROKEN');
  });
});
