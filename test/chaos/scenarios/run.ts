/** Runs one story: does its acts to a world, heals everything, and waits until all is well or the time is over. */
import type { GroupState } from '@antipode/protocol';
import { SomeOperators } from '@antipode/protocol/testing';
import { AntipodeError } from '@antipode/runtime';
import type { EventLog } from '../simulator/event-log.ts';
import type { WorldFacts } from '../simulator/facts.ts';
import { GROUP, World } from '../simulator/world.ts';
import { Faults } from './faults.ts';
import { approvalsBy, People } from './people.ts';
import { prepared } from './prepared.ts';
import { type Act, CHAOS_MS, type Story, told } from './story.ts';
import { type Violation, Watch } from './watch.ts';

export { catchUncaught, type Violation } from './watch.ts';

/** After the last fault was taken back everything settles within this. */
export const SETTLE_MS = 120_000;
const LOOK_MS = 1_000;
/** An operator looks so often, and gives the system some time first. */
const DUTY_MS = 8_000;
/** A leader is found, and a lease granted, within this. */
const BEGIN_MS = 860;
const BEGIN_MS_MAX = 20_000;
const BYSTANDER_KEY_MS = 5_000;

export interface Outcome {
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
  readonly steps: number;
  readonly checks: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly log: EventLog;
  readonly world: World;
}

export interface RunOptions {
  /** Ends the run before this step. */
  readonly untilStep?: number;
  readonly logLevel?: 'debug' | 'info';
}

export async function run(
  story: Story,
  { untilStep = Number.POSITIVE_INFINITY, logLevel = 'info' }: RunOptions = {},
): Promise<Outcome> {
  const { seed, sites, witnesses, coordinators, acts, servesAtMs, isLossless = false } = story;
  const { hasBystanders = false, isGuarded = false } = story;
  const { copy, keys, bystanders, labels, ...before } = await prepared(story);
  if (before.violations.length > 0) return outcomeOf(before.world, before.violations);
  const officers = new SomeOperators();
  const approvals = isGuarded ? approvalsBy(officers) : undefined;
  const machines = { sites, witnesses, coordinators, hasBystanders };
  const world = await World.start({ seed, ...machines, logLevel, copy, approvals });
  const watch = new Watch(world, { untilStep });
  const { facts } = watch;
  const faultCounts: Record<string, number> = {};
  const people = new People({ world, facts, labels, officers });
  const faults = new Faults({ world, facts, forget: watch.forget });
  facts.isGuarded = isGuarded;
  facts.areWallClocksTrusted = story.isTimed !== true;
  facts.begin({ keys, bystanders });
  await serve(world, watch);
  const beganMs = world.clock.nowMs;
  for (const act of acts)
    world.clock.at(beganMs + act.atMs, () => {
      world.log.add('fault', act.at, told(act));
      if (faults.do(act)) faultCounts[act.kind] = (faultCounts[act.kind] ?? 0) + 1;
      else people.do(act);
    });
  if (hasBystanders)
    for (let atMs = 0; atMs < CHAOS_MS; atMs += BYSTANDER_KEY_MS)
      world.clock.at(beganMs + atMs, () => facts.otherGroup.makeKey());
  if (servesAtMs !== undefined) world.clock.at(beganMs + servesAtMs, () => watch.tell({ kind: 'due' }));
  // Somebody watches, as a dashboard does.
  for (let atMs = 2_000; atMs < CHAOS_MS; atMs += 5_000)
    world.clock.at(beganMs + atMs, () => void statusOf(world).catch(() => {}));
  if (!watch.isOver) await world.run(CHAOS_MS);
  if (!watch.isOver) {
    world.log.add('fault', '', 'everything heals');
    faults.healAll();
    await settle(world, people, watch);
    if (!watch.isOver) watch.tell({ kind: 'end', isLossless, unrecorded: facts.unrecorded() });
    if (!watch.isOver) watch.tellWritten();
  }
  world.close();
  return outcomeOf(world, watch.violations, { checks: watch.checks, faults: faultCounts });
}

const outcomeOf = (
  world: World,
  violations: readonly Violation[],
  rest: Partial<Pick<Outcome, 'checks' | 'faults'>> = {},
): Outcome => {
  const { nowMs, steps } = world.clock;
  const virtualMs = nowMs - world.beganMs;
  return { violations, virtualMs, steps, checks: 0, faults: {}, log: world.log, world, ...rest };
};

/** The processes have just begun: until a coordinator leads, and the active member has a lease. */
async function serve(world: World, watch: Watch): Promise<void> {
  const isServed = (): boolean => watch.facts.members.some(({ leaseMs }) => leaseMs > 0);
  for (let waitedMs = 0; waitedMs <= BEGIN_MS || !isServed(); waitedMs += BEGIN_MS) {
    if (waitedMs > BEGIN_MS_MAX)
      return watch.violate('I10', 'liveness', 'the group is not served, although nothing was done to it');
    await world.run(BEGIN_MS);
    if (watch.isOver) return;
  }
}

async function statusOf(world: World): Promise<GroupState | undefined> {
  const { groups } = await world.operate((operator) => operator.getStatus({}));
  return groups.find(({ spec }) => spec?.name === GROUP);
}

/** Waits until all is well. An operator does what the status asks for. */
async function settle(world: World, people: People, watch: Watch): Promise<void> {
  const healedMs = world.clock.nowMs;
  const { facts } = people;
  let state: GroupState | undefined;
  let dutyMs = healedMs + DUTY_MS;
  while (world.clock.nowMs - healedMs < SETTLE_MS) {
    await world.run(LOOK_MS);
    if (watch.isOver) return;
    state = await world.until(statusOf(world).catch(() => undefined)).catch(() => undefined);
    if (watch.isOver || (state !== undefined && isWell(state, facts))) return;
    if (state === undefined || world.clock.nowMs < dutyMs) continue;
    dutyMs = world.clock.nowMs + DUTY_MS;
    await world.until(duty(world, state, people)).catch(() => {});
  }
  watch.violate(
    'I10',
    'liveness',
    `not settled ${SETTLE_MS / 1_000} s after the last fault: ${described(world, state, facts)}`,
  );
}

function isWell(state: GroupState, facts: WorldFacts): boolean {
  if (state.protection !== 'protected' || facts.members.some(({ site }) => facts.isEmptied(site))) return false;
  if (!facts.members.every(({ role }) => role === 'active' || role === 'standby')) return false;
  // A standby that is about to apply the newest generation holds keys that this generation has deleted.
  const lags = ({ site, acknowledgedGeneration }: GroupState['members'][number]): boolean =>
    site !== state.activeSite && acknowledgedGeneration !== state.newest?.generation;
  if (state.members.some(lags)) return false;
  const active = facts.members.find(({ role }) => role === 'active');
  if (active === undefined || active.leaseMs <= 0) return false;
  const held = facts.valuesAt(active.site);
  const wanted = facts.keys.filter(({ value }) => held.has(value));
  const isEverywhere = (value: string): boolean => facts.members.every(({ site }) => facts.valuesAt(site).has(value));
  return wanted.every(({ value, isPromised }) => isPromised && isEverywhere(value));
}

const DRILL_VERDICTS: ReadonlySet<string> = new Set([
  'OBJECT_UNPROVEN',
  'DIGEST_MISMATCH',
  'BLOB_INVALID',
  'MANIFEST_INVALID',
  'DRILL_UNCLEAN',
]);

/** Does what an operator does by the words of the status and the hints of its errors. */
async function duty(
  world: World,
  { protection, contradiction, activeSite, concerns }: GroupState,
  people: People,
): Promise<void> {
  const { facts } = people;
  const order = async (what: string, call: Parameters<World['operate']>[0]): Promise<void> => {
    const outcome = await world.operate(call).then(
      () => 'ordered',
      (thrown: unknown) => `failed: ${AntipodeError.from(thrown).code}`,
    );
    world.log.add('operator', what, outcome);
  };
  for (const { site } of facts.members.filter((member) => facts.isEmptied(member.site)))
    await order('scrub', (operator) => operator.runScrub({ group: GROUP, site })).then(() => facts.looked(site));
  const isQuarantined = [...world.sites.values()].some(
    ({ process, site }) => !process.hasEnded && site.journal.tenure.quarantine(GROUP) !== undefined,
  );
  const isReseatDue = contradiction !== '' || isQuarantined;
  const approvers = facts.isGuarded && isReseatDue ? facts.members.map(({ site }) => site) : [];
  if (approvers.length > 0) await people.approve('reseat', approvers);
  if (isReseatDue) await order('reseat', (operator) => operator.reseatGroup({ group: GROUP }));
  else if (protection === 'unserved' || activeSite === '')
    await order('move', (operator) => operator.failover({ group: GROUP }));
  else if (concerns.some(({ errorCode }) => errorCode === 'DOMAIN_KEY_RETIRED'))
    await order('rotate', (operator) => operator.rotateDomainKey({ group: GROUP }));
  // The coordinator repeats a drill that could not look. A person decides about one that has found something.
  else if (concerns.some(({ kind, errorCode }) => kind === 'drill' && DRILL_VERDICTS.has(errorCode)))
    await order('drill', (operator) => operator.runDrill({ group: GROUP }));
}

function described(world: World, state: GroupState | undefined, facts: WorldFacts): string {
  const members = facts.members.map(
    ({ site, role, epoch, leaseMs }) =>
      `${site} ${role || 'without a seat'} in epoch ${epoch}${leaseMs > 0 ? ' with a lease' : ''}`,
  );
  const open = world.database
    .rows<Record<string, unknown>>(
      "SELECT kind, site, phase, status, error_code, attempts FROM intent WHERE status IN ('open', 'parked')",
    )
    .map((row) => Object.values(row).join(' '));
  const concerns =
    state?.concerns.map(({ kind, site, errorCode, message }) => `${kind} ${site} ${errorCode} ${message}`) ?? [];
  return [
    `status says ${state?.protection ?? 'nothing'} ${state?.contradiction ?? ''}`,
    ...members,
    ...open,
    ...concerns,
  ].join('; ');
}

export const without = (story: Story, ids: ReadonlySet<number>): Story => ({
  ...story,
  acts: story.acts.filter(({ id }: Act) => !ids.has(id)),
});
