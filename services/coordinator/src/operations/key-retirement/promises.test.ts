import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { KeyRetirementEffect, KeyRetirementEvent, KeyRetirementState } from './machine.ts';

const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<KeyRetirementState, KeyRetirementEvent, KeyRetirementEffect>(
  'key-retirement',
  KINDS['key-retirement'],
  {
    start: fc.constant({ phase: 'due' }),
    answers: {
      retire: fc.array(fc.record({ serial: fc.string(), versions: fc.array(fc.nat()) })).map((destroyed) => ({
        type: 'destroyed' as const,
        destroyed,
      })),
      record: plain('recorded'),
    },
  },
);
