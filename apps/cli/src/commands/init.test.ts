import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { partitionsFrom } from './init.ts';

const token = { partition: 'main', module: '/lib/p11.so', tokenLabel: 'payments', pinFile: 'a.pin', environment: [] };
const member = { name: 'main', module: '/lib/p11.so', tokenLabel: 'payments', pinFile: 'a.pin', role: 'member' };

describe('the partitions of a new site', () => {
  it('are one member where nothing else is said', () => {
    expect(partitionsFrom(token)).toEqual([member]);
  });

  it('are also a scratch partition where one is named, in the same environment', () => {
    const environment = { SOFTHSM2_CONF: '/etc/a=b.conf', OTHER: '' };
    const made = partitionsFrom({
      ...token,
      scratchTokenLabel: 'scratch',
      scratchPinFile: 's.pin',
      environment: ['SOFTHSM2_CONF=/etc/a=b.conf', 'OTHER='],
    });
    expect(made).toEqual([
      { ...member, environment },
      { ...member, name: 'scratch', tokenLabel: 'scratch', pinFile: 's.pin', role: 'scratch', environment },
    ]);
  });

  it.each([
    [{ scratchTokenLabel: 'scratch' }],
    [{ scratchPinFile: 's.pin' }],
    [{ scratchTokenLabel: 'payments', scratchPinFile: 's.pin' }],
    [{ scratchTokenLabel: 's', scratchPinFile: 's.pin', partition: 'scratch' }],
  ])('are refused with a scratch partition that is half declared, a member, or of its name: %j', (options) => {
    expect(thrown(() => partitionsFrom({ ...token, ...options })).code).toBe('USAGE');
  });

  it.each(['SOFTHSM2_CONF', '=x', '1A=x', 'A B=x', ''])('are refused with a variable "%s"', (text) => {
    expect(thrown(() => partitionsFrom({ ...token, environment: [text] })).details['field']).toBe('environment');
  });

  it('are refused with a variable that is given twice', () => {
    expect(thrown(() => partitionsFrom({ ...token, environment: ['A=1', 'A=2'] })).message).toContain(
      'A more than once',
    );
  });
});
