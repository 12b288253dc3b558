import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import type { Write } from '../store/store.ts';
import { testDatabase } from '../testing/database.ts';
import { EffectsBench } from '../testing/effects-bench.ts';
import { EffectContext } from './context.ts';

const database = testDatabase();

it('a change of state carries the marks of the journals, and they count as written once it is durable', async () => {
  const { ports } = new EffectsBench().context;
  const happened: string[] = [];
  let isDurable = false;
  let transaction: Write | undefined;
  const context = new EffectContext({
    ...ports,
    store: {
      query: (look) => database.store.query(look),
      snapshot: (look) => database.store.snapshot(look),
      write: async (epoch, change) => {
        const result = await database.store.write(epoch, (trx, record) => {
          transaction = trx;
          return change(trx, record);
        });
        happened.push('commit');
        if (!isDurable) throw new AntipodeError('DATABASE_UNAVAILABLE', 'the answer was lost');
        return result;
      },
    },
    journals: {
      accept: () => {},
      recordIn: async (trx) => {
        happened.push(trx === transaction ? 'marks in the transaction' : 'marks elsewhere');
        return () => happened.push('written');
      },
    },
  });
  const work = async (): Promise<number> => happened.push('work');
  expect((await rejection(context.write(work))).code).toBe('DATABASE_UNAVAILABLE');
  isDurable = true;
  await context.write(work);
  const tried = ['work', 'marks in the transaction', 'commit'];
  expect(happened).toEqual([...tried, ...tried, 'written']);
});
