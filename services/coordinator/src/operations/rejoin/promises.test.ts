import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { RejoinEffect, RejoinEvent, RejoinState } from './machine.ts';

const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<RejoinState, RejoinEvent, RejoinEffect>('rejoin', KINDS.rejoin, {
  start: fc.constant({ phase: 'due' }),
  answers: { rejoin: plain('rejoined') },
});
