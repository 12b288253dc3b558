/** The rules of a filter, as options and as a table of what they match. */
import { filterMessage, type MatchRulesResponse } from '@antipode/protocol';
import type { LocalRuleMatch } from '@antipode/site-agent';
import type { Command } from 'commander';
import { table } from '../output.ts';
import { NAME_COLUMNS, nameCells } from '../views/objects.ts';
import { collect } from './options.ts';

export interface RuleOptions {
  readonly excludeId: readonly string[];
  readonly excludeLabel: readonly string[];
  readonly excludeClass: readonly string[];
  readonly excludeIgnoreCase?: boolean;
}

export const withRuleOptions = (command: Command): Command =>
  command
    .option('--exclude-id <hex>', 'CKA_ID of objects that never leave their site', collect, [])
    .option('--exclude-label <pattern>', 'label of objects that never leave their site; * and ? match', collect, [])
    .option('--exclude-class <class>', 'class of objects that never leave their site', collect, [])
    .option('--exclude-ignore-case', 'ignore upper and lower case in labels');

/** Whether the command line has any rule. */
export const hasRules = ({ excludeId, excludeLabel, excludeClass }: RuleOptions): boolean =>
  excludeId.length + excludeLabel.length + excludeClass.length > 0;

export const filterOf = ({ excludeId, excludeLabel, excludeClass, excludeIgnoreCase = false }: RuleOptions) =>
  filterMessage({
    excludeIds: excludeId,
    excludeLabels: excludeLabel,
    excludeClasses: excludeClass,
    ignoreCase: excludeIgnoreCase,
  });

/** The objects that each rule keeps at the active site, by id. Only the site itself shows labels. */
export function ruleTable({ site, serial, rules }: MatchRulesResponse): string {
  if (rules.length === 0) return `No rules: every object of partition ${serial} can leave site ${site}.`;
  return table(
    ['RULE', 'VALUE', 'OBJECTS', 'CKA_ID'],
    rules.map(({ kind, rule, objects, ckaIds }) => [
      kind,
      JSON.stringify(rule),
      String(objects),
      [...ckaIds.map((id) => id || '(none)'), ...(objects > ckaIds.length && ckaIds.length > 0 ? ['...'] : [])].join(
        ', ',
      ) || '-',
    ]),
  );
}

/** A rule that matches nothing is the likeliest way for a key to leave that must not. */
export function ruleWarnings(
  rules: readonly { readonly kind: string; readonly rule: string; readonly objects: number }[],
) {
  return rules
    .filter(({ objects }) => objects === 0)
    .map(({ kind, rule }) => `Warning: the rule on the ${kind} ${JSON.stringify(rule)} matches no object now.`);
}

/** With the names of the objects. */
export function localRuleTable(rules: readonly LocalRuleMatch[]): string {
  return table(
    ['RULE', 'VALUE', ...NAME_COLUMNS],
    rules.flatMap(({ kind, rule, objects }) =>
      objects.length === 0
        ? [[kind, JSON.stringify(rule), '(nothing)']]
        : objects.map((object) => [kind, JSON.stringify(rule), ...nameCells(object)]),
    ),
  );
}
