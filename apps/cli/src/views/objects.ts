/** Objects of a partition as tables for the people of its site, with their names. */
import type { SharedName } from '@antipode/hsm-core';
import { CATALOGUE } from '@antipode/runtime';
import {
  type CheckedObject,
  type ListedObject,
  OBJECT_STATES,
  type PartitionAttributes,
  type PartitionCheck,
  type PartitionObjects,
  PROGRAMS,
  type Replica,
  type SiteObject,
} from '@antipode/site-agent';
import { CLIENT_SETTINGS } from '../client-settings.ts';
import { duration, table } from '../output.ts';
import { WAYS_OUT, wayOutOf } from '../ways-out.ts';

/** Rows of a table by default. A terminal shows no more at once, and most partitions have fewer objects. */
export const ROWS_DEFAULT = 100;

/** A label can be thousands of characters long, and would break the table of all others. JSON has it whole. */
const LABEL_CHARACTERS_MAX = 64;

export const NAME_COLUMNS = ['CLASS', 'TYPE', 'BITS', 'LABEL', 'CKA_ID', 'USES'] as const;

export const nameCells = ({ objectClass, keyType = '-', sizeBits, label, ckaId, uses }: SiteObject): string[] => [
  objectClass,
  keyType,
  String(sizeBits || '-'),
  shortened(label),
  shortened(ckaId),
  uses.join(', ') || '-',
];

/** `-` for nothing. */
export function shortened(text: string): string {
  const characters = [...text];
  if (characters.length === 0) return '-';
  return characters.length <= LABEL_CHARACTERS_MAX ? text : `${characters.slice(0, LABEL_CHARACTERS_MAX).join('')}...`;
}

/** The list of a site, cut to so many rows. Objects that need somebody come first, and the counts are whole. */
export function objectsText(list: PartitionObjects, limit = ROWS_DEFAULT): string {
  const { partition, group, role, generation, objects } = list;
  const where = `partition ${partition} in group ${group} (${role})`;
  if (objects.length === 0) return `no such objects: ${where}`;
  const counts = OBJECT_STATES.flatMap((state) => {
    const count = objects.filter((one) => one.state === state).length;
    return count === 0 ? [] : [`${count} ${state}`];
  });
  const hasSharedNames = objects.some(({ sharedNames }) => sharedNames !== undefined);
  const hasUniqueIds = objects.some(({ uniqueId }) => uniqueId !== undefined);
  const rows = objects
    .slice(0, limit)
    .map((one) => [
      one.objectId ?? '-',
      one.state,
      reasonText(one),
      ...(list.replicas === undefined ? [] : [one.acknowledgedBy?.join(', ') || '-']),
      ...nameCells(one),
      ...(hasSharedNames ? [one.sharedNames?.join(', ') ?? '-'] : []),
      ...(hasUniqueIds ? [shortened(one.uniqueId ?? '')] : []),
    ]);
  const ways = new Map(
    objects.flatMap((one) => {
      const way = wayOutOf(one);
      return way === undefined ? [] : [[one.reason === undefined ? one.state : `${one.state}, ${one.reason}`, way]];
    }),
  );
  return [
    table(
      [
        ...['OBJECT', 'STATE', 'REASON'],
        ...(list.replicas === undefined ? [] : ['AT']),
        ...NAME_COLUMNS,
        ...(hasSharedNames ? ['SHARES'] : []),
        ...(hasUniqueIds ? ['UNIQUE_ID'] : []),
      ],
      rows,
    ),
    ...cutText(objects.length, limit),
    `\n${countText(objects.length)} of ${where}: ${counts.join(', ')}.`,
    ...(generation === undefined ? [] : replicaLines({ ...list, generation })),
    ...sharedNameLines(objects),
    ...(ways.size === 0 ? [] : ['', ...[...ways].map(([what, way]) => `${what}: ${way}.`)]),
  ].join('\n');
}

const SHARES: Readonly<Record<SharedName, string>> = {
  id: 'another object of its class has the same CKA_ID',
  label: 'another object of its class has the same label',
  pair: 'a private key has the same CKA_ID, and this public key or certificate belongs to another one',
};

/** The meaning of a shared name, and what to do. */
function sharedNameLines(objects: readonly ListedObject[]): string[] {
  const names = new Set(objects.flatMap(({ sharedNames = [] }) => sharedNames));
  if (names.size === 0) return [];
  const meanings = Object.entries(SHARES).filter(([name]) => names.has(name as SharedName));
  return [
    '',
    ...meanings.map(([name, meaning]) => `SHARES ${name}: ${meaning}.`),
    `[NAMES_SHARED] ${CATALOGUE.NAMES_SHARED.hint}`,
  ];
}

/** The meaning of the states at the active member, and how old the word on the other members is. */
function replicaLines({
  group,
  generation,
  objects,
  replicas,
}: PartitionObjects & { readonly generation: bigint }): string[] {
  const has = (state: string): boolean => objects.some((one) => one.state === state);
  return [
    ...(has('captured')
      ? [`captured: sealed here in generation ${generation}, and no other member is known to have acknowledged it.`]
      : []),
    ...(has('replicated') ? ['replicated: acknowledged as it is here by the members under AT.'] : []),
    ...(replicas?.length === 0
      ? [
          `No coordinator has told this site yet which members acknowledged what. \`antipode group show ${group}\` shows it.`,
        ]
      : (replicas ?? []).map(replicaLine)),
  ];
}

function replicaLine({ site, generation, ageMs, isOld }: Replica): string {
  const what = generation === undefined ? 'nothing that counts' : `generation ${generation}`;
  const age = ageMs === undefined ? 'at an unknown time' : `${duration(ageMs)} ago`;
  return `Member ${site} has acknowledged ${what}, as heard ${age}.${isOld ? ' OLD: much can have changed since.' : ''}`;
}

const countText = (count: number): string => (count === 1 ? '1 object' : `${count} objects`);

const cutText = (count: number, limit: number): string[] =>
  count <= limit ? [] : [`... and ${count - limit} more. Use --limit for more rows, or --json for all.`];

const reasonText = ({ reason = '-', rules = [] }: Pick<ListedObject, 'reason' | 'rules'>): string =>
  rules.length === 0 ? reason : `${reason} (${rules.join(', ')})`;

/** The objects that a group would protect, those that it would not, and the changes that would help. */
export function checkText({ partition, objects, isProtected }: PartitionCheck, limit = ROWS_DEFAULT): string {
  if (objects.length === 0) return `partition ${partition} has no objects of applications`;
  const rows = objects
    .slice(0, limit)
    .map((one) => [one.isProtected ? 'yes' : 'no', reasonText(one), ...nameCells(one)]);
  const open = objects.filter((one) => !one.isProtected);
  const kept = open.filter(({ reason }) => reason === 'excluded').length;
  const counts = [
    `${objects.length - open.length} protected`,
    ...(open.length > kept ? [`${open.length - kept} not protected`] : []),
    ...(kept > 0 ? [`${kept} kept at this site by a rule`] : []),
  ];
  return [
    table(['PROTECTED', 'REASON', ...NAME_COLUMNS], rows),
    ...cutText(objects.length, limit),
    `\n${countText(objects.length)} in partition ${partition}: ${counts.join(', ')}.`,
    ...(isProtected ? [] : ['', ...waysOf(open)]),
  ].join('\n');
}

/** The way out for each reason, and for unextractable keys the setting of each program that may have made one. */
function waysOf(open: readonly CheckedObject[]): string[] {
  const reasons = new Set(open.flatMap(({ reason }) => (reason === undefined ? [] : [reason])));
  const makers = new Set(open.flatMap(({ madeBy = [] }) => madeBy));
  const settings = PROGRAMS.filter((program) => makers.has(program)).map((program) => [
    program,
    String(open.filter(({ madeBy }) => madeBy?.includes(program)).length),
    CLIENT_SETTINGS[program],
  ]);
  return [
    ...[...reasons].map((reason) => `${reason}: ${WAYS_OUT[reason]}.`),
    ...(settings.length === 0
      ? []
      : ['', 'Settings for new keys, by the program that makes them (docs/clients.md):', ...settingLines(settings)]),
  ];
}

const settingLines = (settings: readonly string[][]): string[] =>
  settings.map(([program, count, setting]) => `  ${program} (may have made ${count}): ${setting}.`);

/** Lost and narrowed attributes are named. Attributes that move completely are only counted. */
export function attributeTable({ group, isSource, explanations, objects }: PartitionAttributes): string {
  const listed = table(
    ['OBJECT', ...NAME_COLUMNS, 'SET', 'CARRIED', 'NARROWED', 'LOST', 'UNTRIED'],
    objects.map(({ set, carried, narrowed, lost, untried, ...object }) => [
      object.objectId,
      ...nameCells(object),
      String(set.length),
      String(carried.length),
      narrowed.join(', ') || '-',
      isSource ? lost.join(', ') || '-' : '?',
      untried.map(({ use }) => use).join(', ') || '-',
    ]),
  );
  const where = isSource
    ? ''
    : `\n\nOnly the active site of group ${group} knows which attributes the replicas do not get. Ask there.`;
  const meanings = Object.entries(explanations).map(([claim, text]) => `${claim.toUpperCase()}: ${text}.`);
  return `${listed}\n\n${meanings.join('\n')}\nUNTRIED: the key allows this use, but no proof here could try it.\nUse --json for all names and reasons.${where}`;
}
