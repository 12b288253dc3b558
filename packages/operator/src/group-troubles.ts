/** The troubles of a group, in sentences for people, each with the command that helps. */
import { type Concern, type GroupState, MemberRole } from '@antipode/protocol';
import { duration } from './duration.ts';

/** `3 of 10`; undefined where it is not known. */
export function unprotectedKeys({ protectedKeys, unprotectedKeys: lacking }: GroupState): string | undefined {
  return protectedKeys === undefined || lacking === undefined ? undefined : `${lacking} of ${protectedKeys + lacking}`;
}

/** The obstacles of a group: a contradiction, members in quarantine, a pause of automatic failover. */
export function troublesOf(group: GroupState): string[] {
  const { spec, contradiction, members, automaticFailoverPausedUntilMs, automationPause, distributorErrorCode } = group;
  const { failoverRetry } = group;
  const name = spec?.name ?? '';
  return [
    ...waitOf(group),
    ...group.concerns.map((concern) => concernText(name, concern)),
    ...(contradiction === ''
      ? []
      : [
          `Group ${name}: the database and the journals contradict each other, so the coordinator orders nothing: ${contradiction}.\n  Run \`antipode group reseat ${name} --dry-run\`: it shows both versions and what a reseat would do.`,
        ]),
    ...[...members, ...group.witnesses]
      .filter(({ quarantine }) => quarantine !== '')
      .map(
        ({ site, quarantine }) =>
          `Group ${name}: site ${site} is in quarantine: ${quarantine}.\n  Run \`antipode group reseat ${name} --dry-run\` to see what a reseat would do. Then run \`antipode group reseat ${name}\`.`,
      ),
    ...(distributorErrorCode === ''
      ? []
      : [
          `Group ${name}: its distributor at site ${spec?.distributor?.site ?? ''} cannot be used (${distributorErrorCode}). New domain keys wait for it. Replication and failover continue.\n  If it is lost, name another one: \`antipode group set-distributor ${name} --distributor SITE=SERIAL\`.`,
        ]),
    ...(automaticFailoverPausedUntilMs === undefined
      ? []
      : [
          `Group ${name}: no automatic failover before ${new Date(Number(automaticFailoverPausedUntilMs)).toISOString()}, because the last failover was recent.\n  Run \`antipode failover ${name}\` to move the group by hand, or \`antipode group resume ${name}\` to end the wait.`,
        ]),
    ...(failoverRetry === undefined
      ? []
      : [
          `Group ${name}: nobody is active, and automatic failovers have used ${failoverRetry.unservedEpochs} epochs in vain. The next one ${failoverRetry.inMs === 0n ? 'is due' : `begins in ${duration(failoverRetry.inMs)}`}. The pause grows with each.\n  Run \`antipode failover ${name}\` to move the group by hand, or \`antipode group resume ${name}\` to end the pause.`,
        ]),
    ...(automationPause === undefined
      ? []
      : [
          `Group ${name}: its automation has been paused for ${duration(automationPause.ageMs)} by ${automationPause.operator}${automationPause.reason === '' ? '' : ` (${automationPause.reason})`}. No failover, no drill and no scrub begins by itself. Captures and replications continue.\n  Run \`antipode group resume ${name}\` to end the pause.`,
        ]),
  ];
}

const CONCERNS: Record<string, string> = {
  capture: 'the last capture failed',
  replication: 'the last replication failed',
  'domain-key': 'the domain key did not reach every member',
  // A coordinator of an earlier release calls it so.
  enrolment: 'the domain key did not reach every member',
  rejoin: 'the member could not rejoin',
  drill: 'the last drill failed',
  scrub: 'the last scrub failed',
  planning: 'the coordinator cannot plan for it',
  names: 'names do not tell objects apart',
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

/** The objects that a group does not protect, keys first, and the command that shows them. */
export function notCaptured(group: GroupState): string[] {
  const count = group.newest?.uncaptured.length ?? 0;
  if (count === 0) return [];
  const name = group.spec?.name ?? '';
  const keys =
    (group.unprotectedKeys ?? 0) > 0 ? `${unprotectedKeys(group)} keys of group ${name} not protected; ` : '';
  const objects = `${count} ${count === 1 ? 'object' : 'objects'} of group ${name} not captured`;
  return [`${keys}${objects}: \`antipode group show ${name}\` lists them, with reasons and ways out.`];
}

/** The members whose tokens have refused objects, and the command that shows which. */
export function notServed({ spec, members }: GroupState): string[] {
  const name = spec?.name ?? '';
  return members
    .filter(({ refusedObjects }) => refusedObjects > 0)
    .map(({ site, role, refusedObjects: objects }) => {
      const what = `${objects} ${objects === 1 ? 'object' : 'objects'} of group ${name}`;
      const serves = role === MemberRole.ACTIVE ? 'does not serve' : 'could not serve';
      return `Site ${site} ${serves} ${what}, because its token has refused them: \`antipode group show ${name}\` lists them with the answer of the token.`;
    });
}
