import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { doubtsAbout, environmentOf, laterOf, type Place, shellLines } from './place.ts';

const place = (change: Partial<Place> = {}): Place => ({
  group: 'payments',
  site: 'a',
  module: '/usr/lib/softhsm/libsofthsm2.so',
  tokenLabel: 'payments',
  serial: '0123',
  epoch: 3n,
  siteState: 'up',
  partitionErrorCode: '',
  answeredBy: 'coordinator main',
  isLeader: true,
  ageMs: 0,
  ...change,
});

it('nothing speaks against a site that is up with its partition open', () => {
  expect(doubtsAbout(place())).toEqual([]);
});

it.each(['suspect', 'down', 'unknown', ''])('a site that is "%s" is not to be relied on', (siteState) => {
  expect(doubtsAbout(place({ siteState }))).toEqual([`site a is ${siteState || 'unknown'}`]);
});

it('a partition that cannot be used is named with its error', () => {
  expect(doubtsAbout(place({ partitionErrorCode: 'PIN_REFUSED' })).join()).toContain('PIN_REFUSED');
  const silent = doubtsAbout(place({ siteState: 'down', partitionErrorCode: 'PIN_REFUSED' }));
  expect(silent).toEqual(['site a is down', 'its partition could not be used when it was last heard: PIN_REFUSED']);
});

it('a coordinator that does not lead is not to be relied on', () => {
  expect(doubtsAbout(place({ isLeader: false })).join()).toContain('does not lead');
});

it('an answer of the agent says how old it is, or that nobody knows', () => {
  const ofAgent = { answeredBy: 'site b', isLeader: false };
  expect(doubtsAbout(place({ ...ofAgent, ageMs: 12_000 }))).toEqual([
    'no coordinator answers, and site b heard this 12.0 s ago',
  ]);
  expect(doubtsAbout(place({ ...ofAgent, ageMs: undefined, siteState: 'unknown' }))).toEqual([
    'no coordinator answers, and site b heard this before its last restart',
    'site a is unknown',
  ]);
});

it('an agent that goes on without coordinators says who vouches for it and until when, or who does not', () => {
  const ofAgent = { answeredBy: 'site a', isLeader: false, ageMs: 300 };
  const vouched = { by: ['b', 'c'], missing: [], leaseMs: 2_400 };
  expect(doubtsAbout(place({ ...ofAgent, vouched }))).toEqual([
    'no coordinator answers, and site a goes on without one, vouched for by b, c for 2.4 s from now at least',
  ]);
  expect(doubtsAbout(place({ ...ofAgent, vouched: { by: ['b'], missing: ['c'], leaseMs: 1_000 } }))).toEqual([
    'no coordinator answers, and site a is not vouched for by c: its lease ends 1.0 s from now',
  ]);
  expect(doubtsAbout(place({ ...ofAgent, vouched: { by: [], missing: ['b', 'c'], leaseMs: 0 } }))).toEqual([
    'no coordinator answers, and site a is not vouched for by b, c: its lease has run out',
  ]);
});

it('an agent that has not heard of a later tenure does not send clients back to the earlier one', () => {
  const ofCoordinator = place({ site: 'b', epoch: 4n, isLeader: false });
  const ofAgent = place({ answeredBy: 'site c', isLeader: false });
  expect(laterOf(ofCoordinator, ofAgent)).toBe(ofCoordinator);
  const later = { ...ofAgent, epoch: 4n };
  expect(laterOf(ofCoordinator, later)).toBe(later);
});

it('a shell reads the values as they are, whatever they hold', () => {
  const odd = place({ tokenLabel: `it's $HOME \`id\` "x";\nid`, module: '/opt/my lib/m.so' });
  const script = `${shellLines(environmentOf(odd))}\nprintf '%s|%s|%s' "$ANTIPODE_TOKEN_LABEL" "$ANTIPODE_MODULE" "$ANTIPODE_EPOCH"`;
  expect(execFileSync('/bin/sh', ['-c', script]).toString()).toBe(`${odd.tokenLabel}|${odd.module}|3`);
});

it('the environment has the token as a URI too', () => {
  expect(environmentOf(place())['ANTIPODE_URI']).toBe(
    'pkcs11:token=payments;serial=0123?module-path=/usr/lib/softhsm/libsofthsm2.so',
  );
});
