import { describe, expect, it } from 'vitest';
import type { Role } from '../commands.ts';
import type { Examination } from '../jobs/reading.ts';
import type { RoleState } from '../parse/role-state.ts';
import type { PreflightFacts } from './facts.ts';
import { PREFLIGHT_RULES, preflightOf } from './rules.ts';

const READY: RoleState = { isInitialised: true, isLocked: false, isActivated: false, isPed: false, attemptsLeft: 10 };

interface Shown {
  readonly firmware?: string;
  readonly policies?: Readonly<Record<number, number>>;
  readonly isPed?: boolean | undefined;
  readonly info?: Partial<Examination['info']>;
  readonly role?: Partial<RoleState> | 'not read';
}

function side(serial: string, role: Role, { firmware = '7.7.1', policies, isPed, info, role: state = {} }: Shown) {
  return {
    slot: {
      ...{ number: 0, label: 'l', serial, model: 'm', firmware, configuration: '', description: '' },
      ...{ isVirtual: false, isPed },
    },
    info: {
      ...{ serial, label: 'l', isZeroized: false, isInTransport: false, freeBytes: 1_000, usedBytes: 100 },
      ...{ objectCount: 1, firmware, isFips: false, clockDifferenceSeconds: 1, hasFm: false },
      maskingKeys: new Map([['SMK-FW7-Primary', 'a'.repeat(24)]]),
      ...info,
    },
    policies: {
      values: new Map(Object.entries(policies ?? {}).map(([number, value]) => [Number(number), { value, text: '' }])),
    },
    roles: new Map(state === 'not read' ? [] : [[role, { ...READY, ...state }]]),
  } satisfies Examination;
}

const partition = (serial: string, shown: Shown = {}): Examination =>
  side(serial, 'co', { isPed: false, ...shown, policies: { 0: 1, 1: 0, 4: 1, 42: 0, ...shown.policies } });
const backupHsm = (shown: Shown = {}): Examination =>
  side('v', 'so', { isPed: false, ...shown, policies: { 55: 0, ...shown.policies } });

const CLIENT = { major: 10, minor: 7, patch: 1, build: undefined };
const VAULT = {
  freeBytes: 1_000,
  archives: [{ name: 'b', totalBytes: 300, usedBytes: 200, objectCount: 1 }],
};

const facts = (given: Partial<PreflightFacts>): PreflightFacts => ({
  ...{ move: 'clone', client: CLIENT, isHaOnly: false, attemptsFloor: 3, vault: VAULT, archive: 'b' },
  nowMs: Date.UTC(2026, 5, 1),
  from: given.move === 'restore' ? backupHsm() : partition('a'),
  to: given.move === 'backup' ? backupHsm() : partition('b'),
  ...given,
});

const verdictOf = (given: Partial<PreflightFacts>, rule: string): string | undefined =>
  preflightOf(facts(given)).find((row) => row.rule === rule)?.verdict;

describe.each(['clone', 'backup', 'restore'] as const)('a %s between devices as they are made', (move) => {
  const rows = preflightOf(facts({ move }));

  it('fails nowhere, and does not know what no device shows', () => {
    expect(rows.filter(({ verdict }) => verdict === 'will fail')).toEqual([]);
    const open = rows.filter(({ verdict }) => verdict === 'not known').map(({ rule }) => rule);
    expect(open).toEqual(move === 'restore' ? ['cloning domain', 'firmware order'] : ['cloning domain']);
  });

  it('has a source for each rule, and advice where it does not fit', () => {
    for (const { source, advice, verdict } of rows) {
      expect(source).not.toBe('');
      expect(advice === '').toBe(verdict === 'fits');
    }
  });
});

it.each<[string, number | undefined, string, boolean]>([
  ['fits, with nothing to do, long before its end', Date.UTC(2026, 11, 1), 'fits', false],
  ['fits, with something to do, in the last thirty days', Date.UTC(2026, 5, 20), 'fits', true],
  ['keeps everything from moving after its end', Date.UTC(2026, 4, 31), 'will fail', true],
  ['is not known where nobody can read it', undefined, 'not known', true],
])('a certificate of a link %s', (_what, notAfterMs, verdict, hasAdvice) => {
  const sound = { file: 'ca.pem', name: 'hsm-a', notAfterMs: Date.UTC(2030, 0, 1) };
  const certificates = [sound, { file: 'client.pem', name: 'client', notAfterMs }];
  const row = preflightOf(facts({ certificates })).find(({ rule }) => rule === 'certificates');
  expect([row?.verdict, row?.advice !== '']).toEqual([verdict, hasAdvice]);
});

it('says nothing of certificates where the client names none', () => {
  expect(verdictOf({}, 'certificates')).toBeUndefined();
});

it('tells a clock that is off, without CPv4 too, and lets keys move', () => {
  const off = partition('a', { info: { clockDifferenceSeconds: 900 } });
  const row = preflightOf(facts({ from: off })).find(({ rule }) => rule === 'clocks');
  expect(row).toMatchObject({ verdict: 'fits', advice: expect.stringContaining('clock') });
});

it.each<[string, Partial<PreflightFacts>, string, string | undefined]>([
  ['hidden members', { isHaOnly: true }, 'members visible', 'will fail'],
  ['a zeroized target', { to: partition('b', { info: { isZeroized: true } }) }, 'state of the devices', 'will fail'],
  [
    'a vault on its way',
    { move: 'backup', to: backupHsm({ info: { isInTransport: true } }) },
    'state of the devices',
    'will fail',
  ],
  [
    'another masking key',
    { to: partition('b', { info: { maskingKeys: new Map([['SMK-FW7-Primary', 'b'.repeat(24)]]) } }) },
    'masking key',
    'will fail',
  ],
  [
    'a masking key at one end',
    { to: partition('b', { info: { maskingKeys: new Map() } }) },
    'masking key',
    'not known',
  ],
  ['a masking key of a backup', { move: 'backup' }, 'masking key', undefined],
  ['policy 0 off', { to: partition('b', { policies: { 0: 0 } }) }, 'private key cloning', 'will fail'],
  ['policy 4 off', { from: partition('a', { policies: { 4: 0 } }) }, 'secret key cloning', 'will fail'],
  ['policy 42 at one end', { to: partition('b', { policies: { 42: 1 } }) }, 'cloning protocol', 'will fail'],
  [
    'policy 42 at both ends',
    { from: partition('a', { policies: { 42: 1 } }), to: partition('b', { policies: { 42: 1 } }) },
    'cloning protocol',
    'fits',
  ],
  [
    'old firmware at both ends',
    { from: partition('a', { firmware: '7.4.0' }), to: partition('b', { firmware: '7.3.3' }) },
    'cloning protocol',
    'fits',
  ],
  ['firmware that nobody can read', { to: partition('b', { firmware: '' }) }, 'cloning protocol', 'not known'],
  [
    'an old vault under a new source',
    { move: 'backup', to: backupHsm({ firmware: '7.3.2' }) },
    'cloning protocol',
    'will fail',
  ],
  [
    'a new vault under an old source',
    { move: 'backup', from: partition('a', { firmware: '7.4.0' }) },
    'cloning protocol',
    'fits',
  ],
  [
    'policy 55 and an old target',
    { move: 'restore', from: backupHsm({ policies: { 55: 1 } }), to: partition('b', { firmware: '7.4.0' }) },
    'restricted restore',
    'will fail',
  ],
  [
    'policy 55 and CPv1 at the target',
    { move: 'restore', from: backupHsm({ policies: { 55: 1 } }), to: partition('b', { policies: { 42: 1 } }) },
    'restricted restore',
    'will fail',
  ],
  [
    'policy 55 and a new target',
    { move: 'restore', from: backupHsm({ policies: { 55: 1 } }) },
    'restricted restore',
    'fits',
  ],
  ['an older target', { from: partition('a', { firmware: '7.8.4' }) }, 'firmware order', 'not known'],
  ['a newer target', { to: partition('b', { firmware: '7.8.4' }) }, 'firmware order', 'fits'],
  ['a PED at one end', { to: partition('b', { isPed: true }) }, 'authentication', 'will fail'],
  [
    'a PED at one end of universal cloning',
    { from: partition('a', { firmware: '7.8.4' }), to: partition('b', { firmware: '7.8.4', isPed: true }) },
    'authentication',
    'not known',
  ],
  ['FIPS at the source only', { from: partition('a', { info: { isFips: true } }) }, 'FIPS mode', 'not known'],
  ['FIPS that nobody can read', { to: partition('b', { info: { isFips: undefined } }) }, 'FIPS mode', 'not known'],
  [
    'modules at the target only',
    { to: partition('b', { info: { hasFm: true } }) },
    'functionality modules',
    'will fail',
  ],
  ['modules at the source only', { from: partition('a', { info: { hasFm: true } }) }, 'functionality modules', 'fits'],
  [
    'modules that nobody can read',
    { to: partition('b', { info: { hasFm: undefined } }) },
    'functionality modules',
    'not known',
  ],
  ['no space in the target', { to: partition('b', { info: { freeBytes: 99 } }) }, 'space', 'will fail'],
  ['no space in the vault', { move: 'backup', vault: { ...VAULT, freeBytes: 0 } }, 'space', 'will fail'],
  ['a backup that is not there', { move: 'restore', archive: 'c' }, 'space', 'not known'],
  [
    'a hundred backups',
    { move: 'backup', vault: { ...VAULT, archives: Array(100).fill(VAULT.archives[0]) } },
    'number of backups',
    'will fail',
  ],
  ['few attempts left', { from: partition('a', { role: { attemptsLeft: 2 } }) }, 'roles and attempts', 'will fail'],
  ['a locked role', { to: partition('b', { role: { isLocked: true } }) }, 'roles and attempts', 'will fail'],
  [
    'no officer of the vault',
    { move: 'backup', to: backupHsm({ role: { isInitialised: false } }) },
    'roles and attempts',
    'will fail',
  ],
  ['a role that was not read', { to: partition('b', { role: 'not read' }) }, 'roles and attempts', 'not known'],
  [
    'a clock that is off',
    {
      from: partition('a', { firmware: '7.8.4' }),
      to: partition('b', { firmware: '7.8.4', info: { clockDifferenceSeconds: 900 } }),
    },
    'clocks',
    'not known',
  ],
  ['clocks where CPv4 is not spoken', {}, 'clocks', 'fits'],
])('%s', (_what, given, rule, verdict) => {
  expect(verdictOf(given, rule)).toBe(verdict);
});

it('names wrapping where a partition does that instead', () => {
  const to = partition('b', { policies: { 0: 0, 1: 1 } });
  const row = preflightOf(facts({ to })).find(({ rule }) => rule === 'private key cloning');
  expect(row).toMatchObject({ verdict: 'will fail', advice: expect.stringContaining('wrap') });
});

it('has each rule once', () => {
  expect(new Set(PREFLIGHT_RULES.map(({ rule }) => rule)).size).toBe(PREFLIGHT_RULES.length);
});
