import { describe, expect, it } from 'vitest';
import { type Named, type StandingFacts, standingOf, type Tenure } from './generation-standing.ts';

const at = (epoch: bigint, number: bigint): Named => ({ epoch, number });
/** Epoch 1 up to number 4; epoch 2 from there, up to 7; epoch 3 from number 6. */
const TENURES: Tenure[] = [
  { epoch: 1n, base: undefined },
  { epoch: 2n, base: at(1n, 4n) },
  { epoch: 3n, base: at(2n, 6n) },
];
type Held = Record<string, Named>;

function standing(asked: Named, held: Held, rest: Partial<StandingFacts> = {}) {
  return standingOf({
    asked: { ...asked, manifestDigest: 'dd' },
    recorded: { manifestDigest: 'dd' },
    newest: at(3n, 9n),
    acknowledged: Object.entries(held).map(([site, one]) => ({ site, ...one })),
    tenures: TENURES,
    waited: ['b', 'c'],
    ...rest,
  });
}

describe('a generation', () => {
  it('is acknowledged when every site that is asked for has acknowledged it', () => {
    const asked = at(3n, 9n);
    expect(standing(asked, { b: asked, c: asked })).toMatchObject({ standing: 'acknowledged', waitingSites: [] });
    expect(standing(asked, { b: asked, c: at(3n, 8n) })).toEqual({
      standing: 'pending',
      acknowledgedSites: ['b'],
      waitingSites: ['c'],
    });
  });

  it('is acknowledged by what follows from it, over any number of tenures', () => {
    for (const asked of [at(3n, 8n), at(2n, 6n), at(2n, 5n), at(1n, 4n), at(1n, 1n)]) {
      expect(standing(asked, { b: at(3n, 9n), c: at(3n, 9n) }).standing).toBe('acknowledged');
      expect(standing(asked, { b: at(3n, 9n) }).standing).toBe('superseded');
    }
  });

  it('is lost where the tenure that came after does not have it, although a higher number is acknowledged', () => {
    for (const asked of [at(1n, 5n), at(2n, 7n)])
      expect(standing(asked, { b: at(3n, 9n), c: at(3n, 9n) })).toEqual({
        standing: 'lost',
        acknowledgedSites: [],
        waitingSites: ['b', 'c'],
      });
  });

  it('is lost where the line of tenures passes its epoch by', () => {
    const tenures: Tenure[] = [TENURES[0]!, TENURES[1]!, { epoch: 3n, base: at(1n, 4n) }];
    expect(standing(at(2n, 6n), { b: at(3n, 9n), c: at(3n, 9n) }, { tenures }).standing).toBe('lost');
    expect(standing(at(1n, 4n), { b: at(3n, 9n), c: at(2n, 7n) }, { tenures }).standing).toBe('acknowledged');
  });

  it('is not acknowledged by a higher number of an earlier tenure', () => {
    expect(standing(at(3n, 9n), { b: at(2n, 12n), c: at(1n, 12n) })).toEqual({
      standing: 'pending',
      acknowledgedSites: [],
      waitingSites: ['b', 'c'],
    });
  });

  it('is lost where the next tenure began with nothing, and where it is not known what that began with', () => {
    const tenures: Tenure[] = [TENURES[0]!, { epoch: 2n, base: undefined }];
    expect(standing(at(1n, 1n), {}, { tenures }).standing).toBe('lost');
  });

  it('is unknown where nothing, or another manifest, is on record under its name', () => {
    for (const recorded of [undefined, { manifestDigest: 'another' }])
      expect(standing(at(3n, 9n), { b: at(3n, 9n), c: at(3n, 9n) }, { recorded }).standing).toBe('unknown');
  });

  it('is not acknowledged where nobody is there to acknowledge it', () => {
    expect(standing(at(3n, 9n), {}, { waited: [] }).standing).toBe('pending');
  });

  it('follows from nothing in a line of tenures that turns upon itself', () => {
    const tenures: Tenure[] = [TENURES[0]!, { epoch: 2n, base: at(2n, 1n) }];
    expect(standing(at(1n, 1n), {}, { tenures }).standing).toBe('lost');
  });
});
