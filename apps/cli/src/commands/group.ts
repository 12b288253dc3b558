import { LOSS_LIMIT, RETENTION_MS } from '@antipode/hsm-core';
import { type Concern, FailoverPolicy, type GroupState, type MatchRulesResponse, roleName } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type Command, Option } from 'commander';
import {
  collect,
  command,
  operatorCommand,
  readCommand,
  seatFrom,
  seconds,
  TIMEOUT_S_DEFAULT,
  wholeSeconds,
} from '../common.ts';
import { follow, type Operator, withOperator } from '../operator.ts';
import { duration, output, table } from '../output.ts';
import { filterOf, ruleTable, ruleWarnings, withRuleOptions } from '../rules.ts';
import { WAYS_OUT } from '../ways-out.ts';
import { reseatCommand } from './reseat.ts';

/** `3 of 10`; undefined where it is not known. */
export function unprotectedKeys({ protectedKeys, unprotectedKeys: lacking }: GroupState): string | undefined {
  return protectedKeys === undefined || lacking === undefined ? undefined : `${lacking} of ${protectedKeys + lacking}`;
}

export function groupTable(groups: readonly GroupState[]): string {
  return table(
    [
      'GROUP',
      'PROTECTION',
      'KEYS NOT PROTECTED',
      'ACTIVE',
      'EPOCH',
      'GENERATION',
      'OBJECTS',
      'NOT CAPTURED',
      'RECOVERY POINT AGE',
      'LAST PROVEN',
    ],
    groups.map((group) => [
      group.spec?.name ?? '',
      group.protection,
      unprotectedKeys(group) ?? '-',
      group.activeSite || '-',
      String(group.epoch),
      String(group.newest?.generation ?? '-'),
      String(group.newest?.objectCount ?? '-'),
      String(group.newest?.uncaptured.length ?? '-'),
      duration(group.recoveryPointAgeMs),
      group.lastProvenMs === undefined ? 'never' : new Date(Number(group.lastProvenMs)).toISOString(),
    ]),
  );
}

export function memberTable(group: GroupState): string {
  return table(
    ['SITE', 'ROLE', 'SITE STATE', 'SERIAL', 'ACKNOWLEDGED', 'RECOVERY POINT AGE', 'DIVERGENT', 'UNACCOUNTED'],
    group.members.map((member) => [
      member.site,
      roleName(member.role) ?? '?',
      member.partitionErrorCode === '' ? member.siteState : `${member.siteState} (${member.partitionErrorCode})`,
      member.serial,
      String(member.acknowledgedGeneration || '-'),
      duration(member.recoveryPointAgeMs),
      String(member.divergentObjects),
      String(member.unaccountedObjects),
    ]),
  );
}

/** The source of the domain keys of a group. */
export function distributorText({ spec }: GroupState): string {
  const { name = '', distributor } = spec ?? {};
  return distributor === undefined
    ? `the active member of group ${name} makes its domain keys`
    : `partition ${distributor.serial} of site ${distributor.site} alone brings domain keys to group ${name}`;
}

/** The obstacles of a group: a contradiction, members in quarantine, a pause of automatic failover. */
export function troublesOf(group: GroupState): string[] {
  const { spec, contradiction, members, automaticFailoverPausedUntilMs, distributorErrorCode } = group;
  const name = spec?.name ?? '';
  return [
    ...waitOf(group),
    ...group.concerns.map((concern) => concernText(name, concern)),
    ...(contradiction === ''
      ? []
      : [
          `Group ${name}: the database and the journals contradict each other, so nothing is ordered: ${contradiction}.\n  Run \`antipode group reseat ${name} --dry-run\`: it shows both versions and what a reseat would do.`,
        ]),
    ...members
      .filter(({ quarantine }) => quarantine !== '')
      .map(
        ({ site, quarantine }) =>
          `Group ${name}: site ${site} is in quarantine: ${quarantine}.\n  Run \`antipode group reseat ${name}\`.`,
      ),
    ...(distributorErrorCode === ''
      ? []
      : [
          `Group ${name}: its distributor at site ${spec?.distributor?.site ?? ''} cannot be used (${distributorErrorCode}). Rotations and enrolments wait. Replication and failover continue.\n  If it is lost, name another: \`antipode group set-distributor ${name} --distributor SITE=SERIAL\`.`,
        ]),
    ...(automaticFailoverPausedUntilMs === undefined
      ? []
      : [
          `Group ${name}: no automatic failover before ${new Date(Number(automaticFailoverPausedUntilMs)).toISOString()}, because of a recent one.\n  \`antipode failover ${name}\` moves it by hand.`,
        ]),
  ];
}

const CONCERNS: Record<string, string> = {
  capture: 'the last capture failed',
  replication: 'the last replication failed',
  enrolment: 'the domain key did not reach every member',
  rejoin: 'the member could not rejoin',
  drill: 'the last drill failed',
  scrub: 'the last scrub failed',
  planning: 'the coordinator cannot plan for it',
};

/** One doubt about a state whose numbers are good. */
function concernText(name: string, { kind, site, errorCode, message, ageMs, hint }: Concern): string {
  const what = CONCERNS[kind];
  const where = site === '' || what === undefined ? '' : ` at site ${site}`;
  const code = errorCode === '' ? '' : ` [${errorCode}]`;
  const since = ageMs === 0n ? '' : `, since ${duration(ageMs)}`;
  const why = what === undefined ? message : `${what}${where}${since}:${code} ${message}`;
  return `Group ${name}: ${why}${what === undefined ? since : ''}.${hint === '' ? '' : `\n  ${hint}`}`;
}

/** Why nobody is promoted by automation, what would be lost, and the command of the person who accepts that. */
function waitOf({ spec, failoverWait: wait }: GroupState): string[] {
  if (wait === undefined) return [];
  const name = spec?.name ?? '';
  const numbers = (refs: readonly { generation: bigint }[]): string =>
    refs.map(({ generation }) => generation).join(', ');
  const holders = wait.holders.map(({ site, trouble }) => `${site} (${trouble})`).join(', ');
  return [
    `Group ${name}: the automatic failover has been waiting for ${duration(wait.ageMs)}. No member that can serve has the acknowledged generations ${numbers(wait.generations)}. They are at: ${holders || 'nobody'}.\n  It continues by itself when one of these can be used again. \`antipode failover ${name} --to ${wait.toSite} --accept-loss\` moves the group now and loses generations ${numbers(wait.losses)} to service.`,
  ];
}

function disagreements(group: GroupState): string {
  const troubles = troublesOf(group);
  return troubles.length === 0 ? '' : `\n\n${troubles.join('\n')}`;
}

/** Attributes of the active member's objects that no replica gets: they are missing after a failover. */
export function notCarriedTable({ members }: GroupState): string {
  return members
    .filter(({ notCarriedObjects }) => notCarriedObjects > 0)
    .map(({ site, notCarried, notCarriedObjects: objects, notCarriedWeighty: weighty }) => {
      const listed = table(
        ['OBJECT', 'KIND', 'ATTRIBUTES'],
        notCarried.map(({ objectId, kind, attributes }) => [objectId, kind, attributes.join(', ')]),
      );
      const warning = weighty === 0 ? '' : ` ${weighty} of them lose a protection: trust, a date, or a limit.`;
      return `\n\n${objects} ${objects === 1 ? 'object has' : 'objects have'} attributes at site ${site} that no replica gets.${warning}\n${listed}\nTo see labels, run at site ${site}: antipode partition attributes <partition>`;
    })
    .join('');
}

/** The versions of the domain key in every partition, and what keeps those that are not in use. */
export function domainKeyTable({ domainKeyVersion, domainKeys, olderKeysNeededFor, spec }: GroupState): string {
  if (domainKeys.length === 0) return '';
  const listed = table(
    ['SITE', 'SERIAL', 'VERSION', 'KEPT BECAUSE', 'REPORTED'],
    domainKeys.map(({ site, serial, version, neededFor, ageMs }) => [
      site,
      serial,
      String(version),
      neededFor || (olderKeysNeededFor === '' ? 'not needed: about to be destroyed' : 'not needed at this site'),
      `${duration(ageMs)} ago`,
    ]),
  );
  const hasOlder = domainKeys.some(({ version }) => version < domainKeyVersion);
  const everywhere =
    hasOlder && olderKeysNeededFor !== ''
      ? `\nOlder versions of group ${spec?.name ?? ''} stay at every member, because ${olderKeysNeededFor}.`
      : '';
  return `\n\nDomain key versions (in use: ${domainKeyVersion}):\n${listed}${everywhere}`;
}

/** The uncaptured objects, and the way out for each reason in the list. */
export function uncapturedTable(group: GroupState): string {
  const objects = group.newest?.uncaptured ?? [];
  if (objects.length === 0) return refusedTable(group);
  const listed = table(
    ['OBJECT', 'KIND', 'REASON'],
    objects.map(({ objectId, kind, reason }) => [objectId, kind, reason]),
  );
  const reasons = new Set(objects.map(({ reason }) => reason));
  const waysOut = Object.entries(WAYS_OUT).flatMap(([reason, what]) =>
    reasons.has(reason) ? [`${reason}: ${what}.`] : [],
  );
  return `\nNot captured, so not protected in the present state:\n${listed}\n\n${waysOut.join('\n')}${refusedTable(group)}`;
}

/** Captured objects that one of the members cannot hold. */
function refusedTable({ members }: GroupState): string {
  const rows = members.flatMap(({ site, siteState, refused, refusedAgeMs }) =>
    refused.map(({ objectId, kind, code, returnValue }) => [
      siteState === 'up' ? site : `${site} (${siteState})`,
      objectId,
      kind,
      returnValue || code,
      refusedAgeMs === undefined ? '-' : `${duration(refusedAgeMs)} ago`,
    ]),
  );
  if (rows.length === 0) return '';
  const listed = table(['SITE', 'OBJECT', 'KIND', 'WHY', 'REPORTED'], rows);
  return `\n\nNot restored at these sites. They cannot serve these objects:\n${listed}`;
}

/** The consequences of the number of members when a site is lost. */
export function remarksOn({ name, members }: { name: string; members: number }): string[] {
  if (members === 1)
    return [`Group ${name} has one member: its keys have no copy. If this member is lost, they are lost.`];
  if (members === 2)
    return [
      `Group ${name} has two members, so automatic failover is impossible: neither can tell a lost site from a cut link.`,
      `If one is lost, a person decides: \`antipode failover ${name} --accept-loss\`. A third member makes it automatic.`,
    ];
  return [];
}

const whereNames = ({ site }: { site: string }): string =>
  `Only site ${site} shows the names of these objects: antipode partition match <partition> --exclude-...`;

/** The objects that the rules of a group match. If the site does not answer, the rest of the group is shown. */
async function rulesOf(
  operator: Operator,
  { spec }: GroupState,
  { timeoutMs }: { timeoutMs: number },
): Promise<{ matched?: MatchRulesResponse; errorCode: string }> {
  const { excludeIds = [], excludeLabels = [], excludeClasses = [] } = spec?.filter ?? {};
  if (excludeIds.length + excludeLabels.length + excludeClasses.length === 0) return { errorCode: '' };
  try {
    return { matched: await operator.matchRules({ group: spec?.name ?? '' }, { timeoutMs }), errorCode: '' };
  } catch (thrown) {
    return { errorCode: AntipodeError.from(thrown).code };
  }
}

/** Only where one is named: else the group has the defaults. */
function deletionsOf(options: { deletedRetention?: number; lossObjects?: number; lossPercent?: number }): {
  deletions?: { retentionMs: bigint; lossObjects: number; lossPercent: number };
} {
  const { deletedRetention, lossObjects, lossPercent } = options;
  if ([deletedRetention, lossObjects, lossPercent].every((one) => one === undefined)) return {};
  const retentionMs = deletedRetention === undefined ? RETENTION_MS : Math.round(deletedRetention * 86_400_000);
  return {
    deletions: {
      retentionMs: BigInt(retentionMs),
      lossObjects: lossObjects ?? LOSS_LIMIT.objects,
      lossPercent: lossPercent ?? LOSS_LIMIT.percent,
    },
  };
}

export function groupCommand(): Command {
  const group = command('group', 'replication groups');
  group.addCommand(
    withRuleOptions(
      operatorCommand('create', 'create a group, seat its members and bring them a domain key; safe to repeat', [
        'group create payments --member a=1f1eacf8d7be63f2 --member b=9aa08ea09924bb93 --member c=0c51... --scratch c=77aa... --failover automatic --drill "0 3 * * 0"',
        'group create payments --member a=1f1eacf8d7be63f2 --member b=9aa08ea09924bb93 --exclude-label "local-*" --dry-run',
      ]),
    )
      .argument('<group>', 'name')
      .requiredOption('--member <site=serial>', 'a partition that holds the keys; the first is active', collect)
      .option('--scratch <site=serial>', 'a partition for drills', collect, [])
      .option(
        '--distributor <site=serial>',
        'a partition that brings domain keys and is not a member; every site must trust it first',
      )
      .option('--rpo <seconds>', 'recovery point objective', wholeSeconds)
      .option('--drill <cron>', 'when to run drills, five fields, UTC')
      .option(
        '--scrub <seconds>',
        'read every partition completely at least this often; by default a week',
        wholeSeconds,
      )
      .option(
        '--deleted-retention <days>',
        'keep deleted objects sealed at least this long; by default 30 days',
        seconds,
      )
      .option(
        '--loss-objects <count>',
        'hold a capture that would lose more objects, or replace more keys under their names; by default 5',
        seconds,
      )
      .option('--loss-percent <percent>', '... and more than this share of all objects; by default 10', seconds)
      .addOption(
        new Option('--failover <policy>', 'what to do when the active site is lost')
          .choices(['manual', 'automatic'])
          .default('manual'),
      )
      .option('--dry-run', 'check the declaration and list what each rule matches at the active site; change nothing')
      .option('--timeout <seconds>', 'how long to wait for the domain key', seconds, TIMEOUT_S_DEFAULT)
      .action(async (name, options) => {
        const out = output(options);
        const members = options.member.map(seatFrom);
        const scratch = options.scratch.map(seatFrom);
        for (const remark of remarksOn({ name, members: members.length })) out.note(remark);
        await withOperator(options.config, async (operator) => {
          const spec = {
            name,
            members,
            scratch,
            ...(options.distributor === undefined ? {} : { distributor: seatFrom(options.distributor) }),
            filter: filterOf(options),
            rpoSeconds: options.rpo ?? 0,
            drillCron: options.drill ?? '',
            scrubSeconds: options.scrub ?? 0,
            failoverPolicy: options.failover === 'automatic' ? FailoverPolicy.AUTOMATIC : FailoverPolicy.MANUAL,
            ...deletionsOf(options),
          };
          const hasRules = [options.excludeId, options.excludeLabel, options.excludeClass].some(({ length }) => length);
          if (hasRules || options.dryRun) {
            const matched = await operator.matchRules({ group: '', spec });
            for (const warning of ruleWarnings(matched.rules)) out.note(warning);
            if (options.dryRun) {
              out.data(
                matched,
                () => `${ruleTable(matched)}\n\n${whereNames(matched)}\nNothing was changed (--dry-run).`,
              );
              return;
            }
          }
          const { operationId } = await operator.createGroup({ spec });
          if (operationId === '') out.note(`Group ${name} is already declared like this. Nothing to do.`);
          else await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
          const { group: state } = await operator.getGroup({ group: name });
          out.data(state, () => memberTable(state!));
        });
      }),
  );
  group.addCommand(
    readCommand('list', 'list groups', ['group list', 'group list --json']).action(async (options) => {
      const { groups } = await withOperator(options.config, (operator) => operator.listGroups({}), {
        timeoutMs: options.timeout * 1_000,
      });
      output(options).data(groups, () => groupTable(groups));
    }),
  );
  group.addCommand(
    readCommand('show', 'show one group', ['group show payments'])
      .argument('<group>', 'name')
      .action(async (name, options) => {
        const out = output(options);
        const timeoutMs = options.timeout * 1_000;
        const show = async (operator: Operator): Promise<void> => {
          const { group: state } = await operator.getGroup({ group: name });
          // A partition that is busy or away must not hide the rest.
          const rules = await rulesOf(operator, state!, { timeoutMs: timeoutMs / 2 });
          for (const warning of ruleWarnings(rules.matched?.rules ?? [])) out.note(warning);
          out.data({ ...state, rules: rules.matched?.rules ?? null, rulesErrorCode: rules.errorCode }, () => {
            const listed = rules.matched === undefined ? '' : `\n\nNever leaves its site:\n${ruleTable(rules.matched)}`;
            const trouble =
              rules.errorCode === ''
                ? ''
                : `\n\nThe active site did not report what the rules match (${rules.errorCode}).`;
            return `${groupTable([state!])}\n\n${memberTable(state!)}${state?.spec?.distributor === undefined ? '' : `\n\n${distributorText(state)}`}${disagreements(state!)}${domainKeyTable(state!)}${listed}${trouble}${uncapturedTable(state!)}${notCarriedTable(state!)}`;
          });
        };
        await withOperator(options.config, show, { timeoutMs });
      }),
  );
  group.addCommand(
    operatorCommand(
      'rotate-domain-key',
      'bring a new version of the domain key to every member; needed after new trust',
      ['group rotate-domain-key payments'],
    )
      .argument('<group>', 'name')
      .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
      .action(async (name, options) => {
        const out = output(options);
        await withOperator(options.config, async (operator) => {
          const { operationId } = await operator.rotateDomainKey({ group: name });
          const operation = await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
          out.data(operation, () => `group ${name} has a new domain key; the next capture seals everything again`);
        });
      }),
  );
  group.addCommand(
    operatorCommand('set-distributor', 'name another partition that brings domain keys, after the old one was lost', [
      'group set-distributor payments --distributor e=5d7c22aa90b1c3f4',
      'group set-distributor payments --none',
    ])
      .argument('<group>', 'name')
      .option('--distributor <site=serial>', 'the partition, which must not be a member')
      .option('--none', 'the active member makes domain keys again')
      .addHelpText(
        'after',
        '\nThe sites decide. A site takes domain keys from the distributors that it trusts, and from members only if it trusts no\ndistributor. Trust the new one at every site first (`antipode peer trust --distributor-peer`), and remove the old one\nfrom pins.yaml by hand. Only rotations and enrolments depend on it.',
      )
      .action(async (name, options) => {
        if ((options.distributor === undefined) !== (options.none === true))
          throw new AntipodeError('USAGE', 'expected either --distributor or --none', {
            details: { field: 'distributor' },
          });
        const seat = options.distributor === undefined ? {} : { distributor: seatFrom(options.distributor) };
        const { group: state } = await withOperator(options.config, (operator) =>
          operator.setDistributor({ group: name, ...seat }),
        );
        output(options).data(state, () => distributorText(state!));
      }),
  );
  group.addCommand(reseatCommand());
  return group;
}
