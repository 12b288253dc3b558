import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { MemberJoinEffect, MemberJoinEvent, MemberJoinState } from './machine.ts';

const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<MemberJoinState, MemberJoinEvent, MemberJoinEffect>('member-join', KINDS['member-join'], {
  start: fc.constant({ phase: 'due' }),
  answers: { join: plain('joined') },
});
