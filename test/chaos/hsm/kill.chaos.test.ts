/** A bounded sample of `npm run chaos:hsm`: every step of one apply that changes or asks anything, and kills anywhere. */
import { describe, expect, it } from 'vitest';
import { run } from './campaign.ts';
import { judge, type Knowledge } from './judge.ts';
import { parseOptions, UsageError } from './options.ts';
import type { Seen } from './token-reader.ts';

describe('a standby that is killed with SIGKILL while it applies', () => {
  it('loses no acknowledged key, leaves no half key, and touches nothing of others', async () => {
    const outcome = await run({ seed: 'sample', kills: 40, steps: 'first-apply', isOnDisk: false, tell: () => {} });
    expect(outcome.violations).toEqual([]);
    expect(outcome.stepsAll).toBeGreaterThan(20);
    expect(outcome.stepsHit).toBe(outcome.stepsAll);
    expect(outcome.kills).toBe(outcome.stepsAll + 40);
  }, 300_000);
});

describe('the judge', () => {
  const seen = (name: string, change: Partial<Seen> = {}): Seen => ({
    objectClass: 4,
    keyType: 31,
    name,
    print: `print of ${name}`,
    form: `form of ${name}`,
    raw: `raw of ${name}`,
    ...change,
  });
  const foreign = seen('foreign');
  const own = seen('domain key');
  const renamed = seen('card', { form: 'another form' });
  const knowledge: Knowledge = {
    generations: [
      [seen('card'), seen('old')],
      [renamed, seen('new')],
    ],
    permanent: [
      { seen: foreign, isOurs: false },
      { seen: own, isOurs: true },
    ],
  };
  const before = { acknowledged: [1], newestTried: 2, isCut: true };
  const after = { acknowledged: [1, 2], newestTried: 2, isCut: false };
  const whole = [foreign, own, renamed, seen('old'), seen('new')];
  const half = seen('new', { print: undefined });
  const without = (...names: string[]): Seen[] => whole.filter(({ name }) => !names.includes(name));
  const harms = (...args: Parameters<typeof judge>): string[] => judge(...args).map(({ harm }) => harm);

  it.each<[string, Seen[], typeof before]>([
    ['what a generation and others have', whole, after],
    [
      'the old in the place of what replaces it, while that is cut short',
      [...without('card', 'new'), seen('card')],
      before,
    ],
    ['both of them then', [...whole, seen('card')], before],
    ['a half key then', [...whole, half], before],
  ])('finds nothing wrong with %s', (_what, there, moment) => {
    expect(harms(there, moment, knowledge)).toEqual([]);
  });

  it.each<[string, Seen[], typeof before, string[]]>([
    ['lost', without('card'), after, ['lost']],
    ['lost also while the next generation is cut short', without('card'), before, ['lost']],
    ['lost though it was deleted at the source', without('old'), after, ['lost']],
    ['lost where it does not work', [...without('new'), half], after, ['lost', 'halfKeys']],
    ['lost where it is of ours', without('domain key'), after, ['lost']],
    ['half', [...whole, half], after, ['halfKeys']],
    ['destroyed where it is of others', without('foreign'), before, ['foreignDestroyed']],
    [
      'altered where it is of others',
      [...without('foreign'), seen('foreign', { raw: '' })],
      before,
      ['foreignDestroyed'],
    ],
    ['there twice', [...whole, seen('new')], after, ['duplicates']],
    ['there twice, once as it was', [...whole, seen('card')], after, ['duplicates']],
  ])('sees that a key is %s', (_what, there, moment, expected) => {
    expect(harms(there, moment, knowledge)).toEqual(expected);
  });
});

describe('the words of npm run chaos:hsm', () => {
  it('say how often, from what seed, and which chain of kills again', () => {
    expect(parseOptions(['--kills', '2000', '--seed', 'a'])).toMatchObject({
      kills: 2000,
      seed: 'a',
      replay: undefined,
    });
    expect(parseOptions(['--replay', 'a:fresh.57.agent'])).toMatchObject({ seed: 'a', replay: 'fresh.57.agent' });
    expect(parseOptions(['--help'])).toBeUndefined();
  });

  it.each([['--kills', '0'], ['--kills', 'x'], ['--seed', 'a b'], ['--replay', 'a'], ['--unknown']])(
    'refuse %s %s',
    (...args) => {
      expect(() => parseOptions(args)).toThrow(UsageError);
    },
  );
});
