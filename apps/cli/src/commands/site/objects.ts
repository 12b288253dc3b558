/** The objects of a partition, with their names. These commands run at the site itself, beside the agent. */
import { processLog } from '@antipode/runtime';
import {
  attributesHere,
  checkPartition,
  listObjects,
  loadAgentConfig,
  matchLocally,
  OBJECT_STATES,
  type ObjectState,
} from '@antipode/site-agent';
import { type Command, Option } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { filterOf, hasRules, localRuleTable, ruleWarnings, withRuleOptions } from '../../options/filter-rules.ts';
import { AGENT_CONFIG_OPTION, asFormerName, command, count, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';
import { attributeTable, checkText, objectsText, ROWS_DEFAULT } from '../../views/objects.ts';
import { wayOutOf } from '../../ways-out.ts';

const OBJECTS_ARGUMENT = [
  '[object...]',
  'object ids or their first digits, CKA_IDs, or labels; by default all objects',
] as const;
const LIMIT_OPTION = ['--limit <rows>', `rows to print (default: ${ROWS_DEFAULT}; with --json all)`, count] as const;

export function objectCommands(): Command[] {
  return [checkCommand(), listCommand(), matchCommand(), attributesCommand()];
}

function checkCommand(): Command {
  const made = command(
    'check',
    'show which objects a group would protect, which it would not, and what to change; change nothing',
    [
      'partition check main --config site-a/agent.yaml',
      'partition check main --exclude-label "local-*" --config site-a/agent.yaml',
    ],
  );
  return withRuleOptions(made)
    .argument('<partition>', 'name in the configuration')
    .option(...LIMIT_OPTION)
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `\nNeeds no group and no \`partition init\`. It runs the steps of a capture, and stores and sends nothing.\nWithout rules, the rules in use count. Exits with ${EXIT.degraded} if something is not protected that no rule keeps at the site.`,
    )
    .action(async (name, options) => {
      const { config: file, json, limit } = options;
      const place = { config: loadAgentConfig(file), name, log: processLog() };
      const checked = await checkPartition(place, hasRules(options) ? { filter: filterOf(options) } : {});
      const { objects } = checked;
      const shown = limit === undefined ? checked : { ...checked, objects: objects.slice(0, limit) };
      output({ json }).data(shown, () => checkText(checked, limit));
      if (!checked.isProtected) process.exitCode = EXIT.degraded;
    });
}

interface ListOptions {
  readonly config: string;
  readonly json?: boolean;
  readonly group?: string;
  readonly state?: ObjectState;
  readonly sharedNames?: boolean;
  readonly limit?: number;
}

async function list(name: string, words: readonly string[], options: ListOptions): Promise<void> {
  const { config: file, json, group, state, sharedNames, limit } = options;
  const listed = await listObjects({ config: loadAgentConfig(file), name, log: processLog() }, { group, words });
  const objects = listed.objects.filter(
    (one) => (state === undefined || one.state === state) && (sharedNames !== true || one.sharedNames !== undefined),
  );
  const withWays = objects.slice(0, limit).map((one) => {
    const wayOut = wayOutOf(one);
    return wayOut === undefined ? one : { ...one, wayOut };
  });
  output({ json }).data({ ...listed, objects: withWays }, () => objectsText({ ...listed, objects }, limit));
}

function listCommand(): Command {
  return command('objects', 'list the objects of a partition with names, states and ways out', [
    'partition objects main --config site-a/agent.yaml',
    'partition objects main --state uncaptured --config site-a/agent.yaml',
    'partition objects main 4f0c21 --json --config site-a/agent.yaml',
  ])
    .argument('<partition>', 'name in the configuration')
    .argument(...OBJECTS_ARGUMENT)
    .option('--group <group>', 'fail unless the partition is in this group')
    .addOption(new Option('--state <state>', 'only objects in this state').choices(OBJECT_STATES))
    .option('--shared-names', 'only objects that share a CKA_ID or label with another object')
    .option(...LIMIT_OPTION)
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nOnly the site itself shows names. Elsewhere an object is its random id, and these ids are accepted here.\nAt the active site, objects are captured, uncaptured, deleted, refused or missing. At other sites, they are\nreplicated, refused, missing, deleted, divergent or unaccounted. The command reads the partition in a session of its\nown. The agent can keep running.',
    )
    .action(list);
}

/** The command had this name when it showed nothing but names. */
export function formerFindCommand(): Command {
  return asFormerName(
    command('find', 'list objects; the former name of `partition objects`', [
      'partition find main 4f0c21 --config site-a/agent.yaml',
    ])
      .argument('<partition>', 'name in the configuration')
      .argument('<object>', 'object id, CKA_ID or label')
      .option(...AGENT_CONFIG_OPTION)
      .option(...JSON_OPTION)
      .action((name, object, options) => list(name, [object], options)),
  );
}

function matchCommand(): Command {
  const made = command('match', 'list for each rule the objects that it keeps at this site; change nothing', [
    'partition match main --exclude-label "local-*" --config site-a/agent.yaml',
    'partition match main --config site-a/agent.yaml',
  ]);
  return withRuleOptions(made)
    .argument('<partition>', 'name in the configuration')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText('after', '\nWithout rules, the rules in use count: those of the group, and those of agent.yaml.')
    .action(async (name, options) => {
      const { config, json } = options;
      const place = { config: loadAgentConfig(config), name, log: processLog() };
      const rules = await matchLocally(place, hasRules(options) ? filterOf(options) : undefined);
      const out = output({ json });
      for (const warning of ruleWarnings(rules.map((one) => ({ ...one, objects: one.objects.length }))))
        out.note(warning);
      out.data(rules, () => localRuleTable(rules));
    });
}

function attributesCommand(): Command {
  return command('attributes', 'show what becomes of the attributes of each object: set, carried, narrowed, lost', [
    'partition attributes main --config site-a/agent.yaml',
  ])
    .argument('<partition>', 'name in the configuration')
    .argument(...OBJECTS_ARGUMENT)
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .action(async (name, words, { config, json }) => {
      const attributes = await attributesHere(loadAgentConfig(config), name, words);
      output({ json }).data(attributes, () => attributeTable(attributes));
    });
}
