/**
 * Plans a change of a group's settings. It is immediate: the next capture, drill, scrub or failover goes by it. Pure.
 *
 * Objects that new rules exclude are not deleted. They leave the group: their copies stay where they are (I11), and what
 * happens to them at the active site reaches the copies no more. So the plan says it first.
 */
import {
  type FilterChange,
  filterMessage,
  filterRules,
  type GroupSettings,
  GroupSpecSchema,
  type MatchedObjects,
} from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { activeOf, archivePolicyOf, type Group, type GroupSpec } from '../../model.ts';
import { specFrom, specMessage } from '../group-spec.ts';
import type { ChangePlan } from './change.ts';
import { type CloningOf, cloningWarnings } from './cloning.ts';

/** The objects that a change of the filter concerns, or why nobody knows. */
export type FilterEffect = FilterChange | { readonly unknown: string } | undefined;

/** @throws REQUEST_INVALID, naming the field */
export function planSettings(
  group: Group,
  settings: GroupSettings,
  filterEffect?: FilterEffect,
  cloningOf: CloningOf = () => undefined,
): ChangePlan {
  const before = group.spec;
  const spec = settingsApplied(before, settings);
  const isOther = (field: keyof GroupSpec): boolean => JSON.stringify(before[field]) !== JSON.stringify(spec[field]);
  const consequences: string[] = [];
  const warnings: string[] = [];
  if (hasOtherFilter(before, spec)) warnings.push(...filterConsequences(group, filterEffect));
  if (isOther('rpoMs')) {
    const text = `An acknowledged state older than ${spec.rpoMs / 1_000} s counts as lagging. Captures follow each other within half of that time.`;
    (spec.rpoMs > before.rpoMs ? warnings : consequences).push(text);
  }
  if (isOther('drillCron'))
    if (spec.drillCron === '')
      warnings.push('No drill runs by itself. Nothing proves on a schedule that the keys can be restored.');
    else consequences.push(`Drills run at \`${spec.drillCron}\` (UTC).`);
  if (isOther('scrubMs'))
    consequences.push(`Every partition is read completely at least every ${spec.scrubMs / 1_000} s.`);
  if (isOther('failoverPolicy'))
    consequences.push(
      spec.failoverPolicy === 'manual'
        ? 'When the active site is lost, a person must order the failover.'
        : 'When the active site is lost, the coordinator fails over by itself.',
    );
  if (isOther('prefer'))
    consequences.push(
      `Of standbys with the newest generation, the next active site is ${spec.prefer === undefined ? 'the one with the fewest active groups' : `the first of these that can serve: ${spec.prefer.join(', ')}`}. Nothing moves now.`,
    );
  if (isOther('onLeaseLapse'))
    if (spec.onLeaseLapse === 'stop-serving')
      warnings.push(
        'When the lease of the active site lapses, `antipode run` ends its programs, and agents name no place for the group. A lease lapses without a failover too: while no coordinator answers and not every other voting site vouches.',
        'Programs that `antipode run` has not started are not touched: they talk to their HSM directly, and nothing of Antipode lies in between.',
      );
    else consequences.push('Programs go on when the lease of the active site lapses.');
  if (isOther('movement') && before.movement === 'prefer-native')
    consequences.push(
      'The next generation has no clones of keys that can be wrapped. Clones that are in a token stay.',
    );
  if (isOther('movement'))
    if (spec.movement !== undefined) {
      consequences.push(
        `From the next capture on, keys that no token wraps move by the cloning of their device. ${spec.movement === 'native' ? 'All others are sealed as before.' : 'All others have both forms: a member whose device makes the clone takes that one and keeps the history of the key, and any other member takes the sealed one. A member that has a key in either form keeps it as it is.'}`,
      );
      const seats = [...group.members, ...spec.scratch];
      warnings.push(...cloningWarnings(spec, { active: activeOf(group), seats, cloningOf }));
    } else
      warnings.push(
        'Keys that have moved natively stay in the generations as they are, and are reported. A change of such a key reaches no standby any more.',
      );
  if (isOther('archiveMs')) {
    const { everyMs } = archivePolicyOf(spec);
    const text = `Each vault is backed up at least every ${everyMs / 1_000} s. A vault that is not, is late.`;
    (everyMs > archivePolicyOf(before).everyMs ? warnings : consequences).push(text);
  }
  if (isOther('archiveKeep')) {
    const { keep } = archivePolicyOf(spec);
    const text = `The newest ${keep} complete backups stay in each vault, or more if the configuration of its site says so. Older ones of this product are deleted with the next backup.`;
    (keep < archivePolicyOf(before).keep ? warnings : consequences).push(text);
  }
  if (isOther('deletions')) warnings.push(...deletionConsequences(before, spec));
  return {
    revision: group.revision,
    spec,
    changes: changesBetween(before, spec),
    consequences: [...warnings, ...consequences],
    needsConfirmation: warnings.length > 0,
  };
}

/** Checked like a declaration. @throws REQUEST_INVALID */
function settingsApplied(before: GroupSpec, settings: GroupSettings): GroupSpec {
  const { filter, rpoSeconds, drillCron, scrubSeconds, failoverPolicy, onLeaseLapse, movement, deletions, prefer } =
    settings;
  const { archiveSeconds, archiveKeep } = settings;
  const declared = create(GroupSpecSchema, specMessage(before));
  if (filter !== undefined) declared.filter = filter;
  if (rpoSeconds !== undefined) declared.rpoSeconds = rpoSeconds;
  if (drillCron !== undefined) declared.drillCron = drillCron;
  if (scrubSeconds !== undefined) declared.scrubSeconds = scrubSeconds;
  if (failoverPolicy !== undefined) declared.failoverPolicy = failoverPolicy;
  if (onLeaseLapse !== undefined) declared.onLeaseLapse = onLeaseLapse;
  if (movement !== undefined) declared.movement = movement;
  if (deletions !== undefined) declared.deletions = deletions;
  if (archiveSeconds !== undefined) declared.archiveSeconds = archiveSeconds;
  if (archiveKeep !== undefined) declared.archiveKeep = archiveKeep;
  if (prefer !== undefined) declared.prefer = prefer.sites;
  return specFrom(declared);
}

const filterText = ({ filter }: GroupSpec): string => {
  const { excludeIds, excludeLabels, excludeClasses, ignoreCase } = filterMessage(filterRules(asMessage(filter)));
  return JSON.stringify([[...excludeIds].sort(), [...excludeLabels].sort(), [...excludeClasses].sort(), ignoreCase]);
};

const asMessage = (filter: GroupSpec['filter']) => create(GroupSpecSchema, { filter: filterMessage(filter) }).filter;

export const hasOtherFilter = (before: GroupSpec, after: GroupSpec): boolean =>
  filterText(before) !== filterText(after);

/** The rules of the filter are counted and not repeated: they may hold labels of keys. */
function changesBetween(before: GroupSpec, after: GroupSpec): string[] {
  const shown = (spec: GroupSpec): Record<string, string> => ({
    filter: filterText(spec),
    rpo_seconds: String(spec.rpoMs / 1_000),
    drill_cron: spec.drillCron || 'none',
    scrub_seconds: String(spec.scrubMs / 1_000),
    failover_policy: spec.failoverPolicy,
    on_lease_lapse: spec.onLeaseLapse ?? 'keep-serving',
    movement: spec.movement ?? 'sealed',
    deletions: deletionsText(spec),
    archive_seconds: String(archivePolicyOf(spec).everyMs / 1_000),
    archive_keep: String(archivePolicyOf(spec).keep),
    prefer: spec.prefer?.join(', ') ?? 'none',
  });
  const [was, is] = [shown(before), shown(after)];
  return Object.keys(was).flatMap((field) => {
    if (was[field] === is[field]) return [];
    return field === 'filter'
      ? [`filter: ${countRules(before)} -> ${countRules(after)}, other rules`]
      : [`${field}: ${was[field]} -> ${is[field]}`];
  });
}

function countRules({ filter: { excludeIds, excludeLabels, excludeClasses } }: GroupSpec): string {
  const count = excludeIds.length + excludeLabels.length + excludeClasses.length;
  return `${count} ${count === 1 ? 'rule' : 'rules'}`;
}

const deletionsText = ({ deletions }: GroupSpec): string =>
  deletions === undefined
    ? 'default'
    : `retention ${deletions.retentionMs === 0 ? 'default' : `${deletions.retentionMs / 86_400_000} days`}, loss ${deletions.lossObjects} objects and ${deletions.lossPercent} percent`;

function deletionConsequences(before: GroupSpec, after: GroupSpec): string[] {
  return [
    `Deleted objects: ${deletionsText(before)} before, ${deletionsText(after)} from now on.`,
    'Objects that were deleted before keep the retention of that day.',
    'A capture that would lose more than the limit is held for a person. A higher limit lets more losses pass.',
  ];
}

function filterConsequences(group: Group, effect: FilterEffect): string[] {
  const from = activeOf(group)?.site ?? 'the active site';
  const others = group.members.filter(({ site }) => site !== from).map(({ site }) => site);
  if (effect === undefined || 'unknown' in effect)
    return [
      `Nobody knows which objects the new rules concern: site ${from} could not be asked (${effect?.unknown ?? 'not asked'}).`,
      'Objects that a new rule excludes leave the group at the next capture. Objects that no rule excludes any more leave their site.',
    ];
  const { excluded, included } = effect;
  const lines: string[] = [];
  if (countOf(excluded) > 0)
    lines.push(
      `${objectsText(excluded)} no longer belong to the group from the next capture on. They are not deleted anywhere.`,
      `Copies that reached site ${others.join(', ') || '(none)'} stay in the tokens there, and count as divergent. A program at these sites still finds them under their names.`,
      `Changes of these objects at site ${from} no longer reach the copies: a new key, another attribute, or a deletion. Remove the copies at each site by hand if nobody should use them.`,
      'Their sealed copies are erased when the generations that contain them are retired.',
    );
  if (countOf(included) > 0)
    lines.push(
      `${objectsText(included)} leave site ${from} with the next capture. An object that has left its site cannot be called back.`,
    );
  return lines.length > 0 ? lines : ['No object that is in the active partition now is treated differently.'];
}

const countOf = (matched: MatchedObjects | undefined): number => matched?.objects ?? 0;

const IDS_SHOWN_MAX = 10;

function objectsText(matched: MatchedObjects | undefined): string {
  const { objects = 0, ckaIds = [] } = matched ?? {};
  const ids = ckaIds.slice(0, IDS_SHOWN_MAX).map((id) => id || '(none)');
  const more = objects > ids.length ? ', ...' : '';
  return `${objects} ${objects === 1 ? 'object' : 'objects'} (CKA_ID ${ids.join(', ')}${more})`;
}
