import { UNCAPTURED_REASONS } from '@antipode/hsm-core';
import { OBJECT_STATES, type PartitionCheck, type PartitionObjects, PROGRAMS } from '@antipode/site-agent';
import { describe, expect, it } from 'vitest';
import { CLIENT_SETTINGS } from '../client-settings.ts';
import { wayOutOf } from '../ways-out.ts';
import { attributeTable, checkText, objectsText } from './objects.ts';

const KEY = {
  objectId: '4f0c',
  objectClass: 'private-key',
  keyType: 'EC prime256v1',
  sizeBits: 256,
  label: 'signing',
  ckaId: '01',
  uses: ['sign', 'derive'],
};

const LIST: PartitionObjects = {
  partition: 'main',
  group: 'payments',
  role: 'active',
  generation: 7n,
  objects: [
    { ...KEY, state: 'uncaptured', reason: 'unextractable' },
    { ...KEY, objectId: '5a', state: 'uncaptured', reason: 'excluded', rules: ['label "local-*"'] },
    { ...KEY, objectId: '6b', state: 'captured' },
  ],
};

const cells = (line: string | undefined): string[] => (line ?? '').trim().split(/ {2,}/);

describe('the list of a partition', () => {
  it('shows names, state, reason and the rules that keep an object', () => {
    const [, first, second] = objectsText(LIST).split('\n');
    expect(cells(first)).toEqual([
      ...['4f0c', 'uncaptured', 'unextractable'],
      ...['private-key', 'EC prime256v1', '256', 'signing', '01', 'sign, derive'],
    ]);
    expect(cells(second)[2]).toBe('excluded (label "local-*")');
  });

  it('counts all states, and tells the way out of each', () => {
    const text = objectsText(LIST);
    expect(text).toContain('3 objects of partition main in group payments (active): 2 uncaptured, 1 captured.');
    expect(text).toContain('uncaptured, unextractable: make a new key with CKA_EXTRACTABLE');
    expect(text).toContain('sealed here in generation 7');
  });

  it('shows who has acknowledged an object, and marks what was heard long ago', () => {
    const [, , captured] = LIST.objects;
    const objects = [captured!, { ...captured!, state: 'replicated', acknowledgedBy: ['b', 'c'] } as const];
    const replicas = [
      { site: 'b', epoch: 1n, generation: 6n, ageMs: 1_200, isOld: false },
      { site: 'c', epoch: 1n, generation: 5n, ageMs: 8_000_000, isOld: true },
      { site: 'd', isOld: true },
    ];
    const lines = objectsText({ ...LIST, objects, replicas }).split('\n');
    expect([cells(lines[0])[3], cells(lines[1])[3], cells(lines[2])[3]]).toEqual(['AT', '-', 'b, c']);
    expect(lines.filter((line) => line.startsWith('Member'))).toEqual([
      'Member b has acknowledged generation 6, as heard 1.2 s ago.',
      'Member c has acknowledged generation 5, as heard 2 h ago. OLD: much can have changed since.',
      'Member d has acknowledged nothing that counts, as heard at an unknown time. OLD: much can have changed since.',
    ]);
    expect(objectsText({ ...LIST, replicas: [] })).toContain('No coordinator has told this site yet');
  });

  it('shows the unique ids of a token that has them', () => {
    const [one, other] = LIST.objects;
    const lines = objectsText({ ...LIST, objects: [{ ...one!, uniqueId: 'u-1' }, other!] }).split('\n');
    expect(lines.slice(0, 3).map((line) => cells(line).at(-1))).toEqual(['UNIQUE_ID', 'u-1', '-']);
    expect(objectsText(LIST)).not.toContain('UNIQUE_ID');
  });

  it('cuts a long list, with whole counts', () => {
    const objects = Array.from({ length: 10_000 }, (_, index) => ({ ...LIST.objects[2]!, objectId: `id ${index}` }));
    const text = objectsText({ ...LIST, objects });
    expect(text.split('\n').filter((line) => line.startsWith('id '))).toHaveLength(100);
    expect(text).toContain('and 9900 more');
    expect(text).toContain('10000 captured');
    expect(objectsText({ ...LIST, objects: LIST.objects }, 1)).toContain('and 2 more');
  });

  it('shortens a label of any length', () => {
    const label = 'x'.repeat(5_000);
    expect(objectsText({ ...LIST, objects: [{ ...LIST.objects[0]!, label }] }).split('\n')[1]!.length).toBeLessThan(
      300,
    );
  });

  it('says so where there is nothing', () => {
    expect(objectsText({ ...LIST, objects: [] })).toContain('no such objects');
  });
});

describe('the way out', () => {
  const reasonsOf = { deleted: ['deleted', 'held', 'replaced', 'changed', 'set-aside', 'gone', 'kept'] };

  it('is there for every state and reason that needs somebody', () => {
    for (const reason of [...UNCAPTURED_REASONS, 'new'])
      expect([reason, typeof wayOutOf({ state: 'uncaptured', reason })]).toEqual([reason, 'string']);
    for (const reason of reasonsOf.deleted)
      expect([reason, typeof wayOutOf({ state: 'deleted', reason })]).toEqual([reason, 'string']);
    for (const state of ['refused', 'missing', 'divergent', 'unaccounted'] as const)
      expect([state, typeof wayOutOf({ state })]).toEqual([state, 'string']);
    for (const state of ['captured', 'replicated'] as const) expect(wayOutOf({ state })).toBeUndefined();
    expect(OBJECT_STATES).toHaveLength(8);
  });
});

describe('the check of a partition', () => {
  const check: PartitionCheck = {
    partition: 'main',
    isProtected: false,
    objects: [
      { ...KEY, isProtected: false, reason: 'unextractable', madeBy: ['certutil'] },
      { ...KEY, isProtected: false, reason: 'excluded', rules: ['class "data"'] },
      { ...KEY, isProtected: true },
    ],
  };

  it('tells the setting of the program that has made the key, and of no other', () => {
    const text = checkText(check);
    expect(text).toContain('certutil (may have made 1): add --keyAttrFlags');
    expect(text).not.toContain('AllowExtraction');
    expect(text).toContain('3 objects in partition main: 1 protected, 1 not protected, 1 kept at this site by a rule.');
  });

  it('tells all settings where nothing shows which program it was', () => {
    const [first] = check.objects;
    const text = checkText({ ...check, objects: [{ ...first!, madeBy: PROGRAMS }] });
    for (const program of PROGRAMS) expect(text).toContain(`${program} (may have made 1): ${CLIENT_SETTINGS[program]}`);
  });

  it('has no advice where everything is protected', () => {
    const text = checkText({ ...check, isProtected: true, objects: [check.objects[2]!] });
    expect(text.trim().split('\n').at(-1)).toBe('1 object in partition main: 1 protected.');
    expect(checkText({ ...check, objects: [] })).toContain('no objects');
  });
});

const WITH_ATTRIBUTES = {
  objectId: '4f0c',
  objectClass: 'secret-key',
  keyType: 'AES',
  sizeBits: 256,
  uses: ['encrypt'],
  ckaId: '01',
  label: 'kek',
  set: ['private', 'label'],
  carried: ['local'],
  narrowed: ['sensitive'],
  lost: ['CKA_TRUSTED'],
  untried: [{ use: 'derive', reason: 'no mechanism' }],
};

it('shows per object what is lost and narrowed, and asks for the active site where that is not known here', () => {
  const explanations = { set: 'a', carried: 'b', narrowed: 'c', lost: 'd' };
  const shown = { partition: 'main', group: 'payments', isSource: true, explanations, objects: [WITH_ATTRIBUTES] };
  const [, row = ''] = attributeTable(shown).split('\n');
  expect(row.split(/ {2,}/)).toEqual([
    '4f0c',
    'secret-key',
    'AES',
    '256',
    'kek',
    '01',
    'encrypt',
    '2',
    '1',
    'sensitive',
    'CKA_TRUSTED',
    'derive',
  ]);
  expect(attributeTable(shown)).not.toContain('Ask there');
  expect(attributeTable(shown)).toContain('NARROWED: c.');
  const elsewhere = attributeTable({ ...shown, isSource: false, objects: [{ ...WITH_ATTRIBUTES, lost: [] }] });
  expect(elsewhere.split('\n')[1]).toMatch(/\? +derive$/);
  expect(elsewhere).toContain('Only the active site of group payments');
});
