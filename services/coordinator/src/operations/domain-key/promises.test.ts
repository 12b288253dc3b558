import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { DomainKeyEffect, DomainKeyEvent, DomainKeyState } from './machine.ts';

const failures = fc.array(
  fc.record({ serial: fc.constantFrom('s1', 's2'), code: fc.constant('PEER_NOT_PINNED'), message: fc.constant('no') }),
  { maxLength: 2 },
);
const ordered = fc.record({ type: fc.constant('version-ordered' as const), version: fc.nat(9) });
const taken = fc.oneof(
  fc.constant({ type: 'version-used' as const }),
  fc.record({ type: fc.constant('officers-awaited' as const), failures }),
);
const distributed = fc.record({ type: fc.constant('distributed' as const), sites: fc.constant(['a']), failures });
const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<DomainKeyState, DomainKeyEvent, DomainKeyEffect>('domain-key', KINDS['domain-key'], {
  start: fc.constant({ phase: 'due' }),
  answers: {
    'seat-members': plain('seated'),
    'order-version': ordered,
    distribute: distributed,
    'use-version': taken,
  },
  // Which version was ordered is not known after a crash, so another is: never the same one twice.
  repeats: (effect) => (effect.type === 'order-version' ? { type: 'seat-members' } : effect),
});
