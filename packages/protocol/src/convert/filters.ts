/** The rules for objects that never leave their site: as declarations, orders and configurations have them. */
import type { ObjectFilter } from '../gen/antipode/v1/site_agent_pb.ts';

/** An object is excluded when any rule matches. */
export interface FilterRules {
  /** CKA_ID, hexadecimal. */
  readonly excludeIds: readonly string[];
  /** CKA_LABEL, shell pattern with `*` and `?`. */
  readonly excludeLabels: readonly string[];
  readonly excludeClasses: readonly string[];
  /** Whether labels are compared without regard to case. */
  readonly ignoreCase?: boolean;
}

/** Names of object classes, as rules have them. */
export const FILTER_CLASSES = [
  'secret-key',
  'private-key',
  'public-key',
  'certificate',
  'data',
  'domain-parameters',
] as const;

/** `ignoreCase` is there only where it is true, so that equal rules are stored equally. */
export const filterRules = (filter: ObjectFilter | undefined): FilterRules => ({
  excludeIds: filter?.excludeIds ?? [],
  excludeLabels: filter?.excludeLabels ?? [],
  excludeClasses: filter?.excludeClasses ?? [],
  ...(filter?.ignoreCase === true ? { ignoreCase: true } : {}),
});

export const filterMessage = ({ excludeIds, excludeLabels, excludeClasses, ignoreCase = false }: FilterRules) => ({
  excludeIds: [...excludeIds],
  excludeLabels: [...excludeLabels],
  excludeClasses: [...excludeClasses],
  ignoreCase,
});

export const isCkaId = (text: string): boolean => /^(?:[0-9a-fA-F]{2})+$/.test(text);

/** Whether a pattern for labels has a character that people see. */
export const isLabelPattern = (text: string): boolean => /[^\p{C}\p{Z}]/u.test(text);

const isFilterClass = (text: string): boolean => FILTER_CLASSES.some((name) => name === text);

export interface FilterFault {
  readonly field: 'exclude_ids' | 'exclude_labels' | 'exclude_classes';
  readonly why: string;
}

/**
 * The first fault of the rules. A rule that matches nothing by mistake would let a key leave that must not. It is named by
 * its place: somebody may have put a label there, and labels belong in no error.
 */
export function filterFault({ excludeIds, excludeLabels, excludeClasses }: FilterRules): FilterFault | undefined {
  const id = excludeIds.findIndex((one) => !isCkaId(one));
  if (id !== -1) return { field: 'exclude_ids', why: `rule ${id + 1} is not a CKA_ID in hexadecimal, such as 0a1f` };
  const name = excludeClasses.findIndex((one) => !isFilterClass(one));
  if (name !== -1)
    return { field: 'exclude_classes', why: `rule ${name + 1} is not one of ${FILTER_CLASSES.join(', ')}` };
  if (!excludeLabels.every(isLabelPattern)) return { field: 'exclude_labels', why: 'must have a visible character' };
  return undefined;
}
