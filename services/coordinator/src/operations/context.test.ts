import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { EffectsBench } from '../testing/effects-bench.ts';
import { EffectContext, type EffectsPorts } from './context.ts';

it('a change of state carries the marks of the journals, and they count as written once it is durable', async () => {
  const { ports } = new EffectsBench().context;
  const happened: string[] = [];
  let isDurable = false;
  const context = new EffectContext({
    ...ports,
    store: {
      write: async (_epoch: bigint, work: (trx: unknown) => Promise<unknown>) => {
        const result = await work('trx');
        happened.push('commit');
        if (!isDurable) throw new AntipodeError('DATABASE_UNAVAILABLE', 'no');
        return result;
      },
    } as unknown as EffectsPorts['store'],
    journals: {
      accept: () => {},
      recordIn: async (trx) => {
        happened.push(`marks in ${String(trx)}`);
        return () => happened.push('written');
      },
    },
  });
  const work = async (): Promise<number> => happened.push('work');
  expect((await rejection(context.write(work))).code).toBe('DATABASE_UNAVAILABLE');
  isDurable = true;
  await context.write(work);
  const tried = ['work', 'marks in trx', 'commit'];
  expect(happened).toEqual([...tried, ...tried, 'written']);
});
