import { describe, expect, it } from 'vitest';
import { type DomainKeyEvent, type DomainKeyState, decideDomainKey } from './machine.ts';

const FAILURES = [{ serial: 's2', code: 'PEER_NOT_PINNED', message: 'not pinned' }];

/** The effects of a story, and where it ends. */
function tell(events: readonly DomainKeyEvent[], from: DomainKeyState = { phase: 'due' }) {
  const effects: unknown[] = [];
  let state = from;
  for (const event of events) {
    const step = decideDomainKey(state, event);
    effects.push(step.effect);
    state = step.state;
  }
  return { effects, state };
}

describe('a domain key', () => {
  it('seats the members before it orders a version, and distributes the version that was ordered', () => {
    const { effects, state } = tell([
      { type: 'resume' },
      { type: 'seated' },
      { type: 'version-ordered', version: 3 },
      { type: 'distributed', sites: ['a', 'b'], failures: [] },
      { type: 'version-used' },
    ]);
    expect(effects).toEqual([
      { type: 'seat-members' },
      { type: 'order-version' },
      { type: 'distribute', version: 3 },
      { type: 'use-version', version: 3, sites: ['a', 'b'] },
      undefined,
    ]);
    expect(state).toEqual({ phase: 'complete', version: 3, sites: ['a', 'b'] });
  });

  it('never uses a version that only some members received', () => {
    const { effects, state } = tell([{ type: 'distributed', sites: ['a', 'b'], failures: FAILURES }], {
      phase: 'distributing',
      version: 3,
    });
    expect(effects).toEqual([undefined]);
    expect(state).toEqual({ phase: 'incomplete', failures: FAILURES });
  });

  it('uses a version only when the officers have trusted it, and orders no other meanwhile', () => {
    const failures = [{ serial: 's2', code: 'DOMAIN_KEY_UNTRUSTED', message: 'site b' }];
    const delivered = { version: 3, sites: ['a', 'b'] };
    const awaited = tell([{ type: 'officers-awaited', failures }], { phase: 'taking-up', ...delivered });
    expect(awaited).toEqual({ effects: [undefined], state: { phase: 'awaiting-officers', ...delivered, failures } });
    const resumed = tell([{ type: 'resume' }, { type: 'version-used' }], awaited.state);
    expect(resumed).toEqual({
      effects: [{ type: 'use-version', ...delivered }, undefined],
      state: { phase: 'complete', ...delivered },
    });
  });

  it('starts afresh with a version of its own after a person has looked', () => {
    const { effects } = tell([{ type: 'resume' }, { type: 'seated' }, { type: 'version-ordered', version: 4 }], {
      phase: 'incomplete',
      failures: FAILURES,
    });
    expect(effects).toEqual([{ type: 'seat-members' }, { type: 'order-version' }, { type: 'distribute', version: 4 }]);
  });

  it('is parked with the code of what a person must settle', () => {
    const failure = { type: 'failed', code: 'PEER_NOT_PINNED', disposition: 'operator', message: 'no' } as const;
    expect(tell([failure], { phase: 'seating' }).state).toEqual({
      phase: 'incomplete',
      failures: [{ serial: '', code: 'PEER_NOT_PINNED', message: 'no' }],
    });
  });
});
