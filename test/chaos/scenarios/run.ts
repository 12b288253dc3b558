/** Runs one story: makes a group, does the acts, heals everything, and waits until all is well or the time is over. */
import { FailoverPolicy, type GroupState } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { allCheckers, type Change } from '../checkers/index.ts';
import type { EventLog } from '../simulator/event-log.ts';
import { WorldFacts } from '../simulator/facts.ts';
import { GROUP, OTHER_GROUP, World } from '../simulator/world.ts';
import { Faults } from './faults.ts';
import { People } from './people.ts';
import { type Act, CHAOS_MS, type Story, told } from './story.ts';

/** After the last fault was taken back everything settles within this. */
export const SETTLE_MS = 120_000;
const LOOK_MS = 1_000;
/** An operator looks so often, and gives the system some time first. */
const DUTY_MS = 8_000;
const FIRST_KEYS = 3;
const PROTECTED_MS_MAX = 60_000;
const BYSTANDER_KEY_MS = 5_000;

export interface Violation {
  readonly invariant: string;
  readonly checker: string;
  readonly text: string;
  readonly atMs: number;
  readonly step: number;
}

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

/** Errors that nobody caught belong to the world that runs now. */
let current: World | undefined;
export const catchUncaught = (): void => {
  process.on('unhandledRejection', (thrown) => current?.uncaught(thrown));
};

export async function run(
  story: Story,
  { untilStep = Number.POSITIVE_INFINITY, logLevel = 'info' }: RunOptions = {},
): Promise<Outcome> {
  const { seed, sites, witnesses, coordinators, acts, servesAtMs, isLossless = false } = story;
  const { hasBystanders = false, isGuarded = false } = story;
  const world = await World.start({ seed, sites, witnesses, coordinators, hasBystanders, logLevel });
  current = world;
  const { checkers, forget } = allCheckers();
  const violations: Violation[] = [];
  const faultCounts: Record<string, number> = {};
  let checks = 0;
  const violate = (invariant: string, checker: string, text: string): void => {
    if (violations.some((one) => one.checker === checker)) return;
    violations.push({ invariant, checker, text, atMs: world.clock.nowMs, step: world.clock.steps });
    world.log.add('violation', invariant, text);
  };
  const tell = (change: Change): void => {
    for (const { invariant, name, look } of checkers) {
      checks += 1;
      const text = look(change, facts);
      if (text !== undefined) violate(invariant, name, text);
    }
  };
  const facts = new WorldFacts(world, tell);
  const step: Change = { kind: 'step' };
  world.afterStep = () => {
    tell(step);
    return violations.length > 0 || world.clock.steps >= untilStep;
  };
  world.onDefect = (thrown) =>
    violate('defect', 'defect', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  const people = new People({ world, facts });
  const faults = new Faults({ world, facts, forget });
  const isOver = (): boolean => violations.length > 0 || world.clock.steps >= untilStep;

  await prepare(world, people, isOver);
  if (hasBystanders) await prepareBystanders(world, facts, isOver);
  if (isGuarded) await guard(world, people, isOver);
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
  if (servesAtMs !== undefined) world.clock.at(beganMs + servesAtMs, () => tell({ kind: 'due' }));
  // Somebody watches, as a dashboard does.
  for (let atMs = 2_000; atMs < CHAOS_MS; atMs += 5_000)
    world.clock.at(beganMs + atMs, () => void statusOf(world).catch(() => {}));
  if (!isOver()) await world.run(CHAOS_MS);
  if (!isOver()) {
    world.log.add('fault', '', 'everything heals');
    faults.healAll();
    await settle(world, people, { isOver, violate });
    if (!isOver()) tell({ kind: 'end', isLossless, unrecorded: facts.unrecorded() });
    if (!isOver()) for (const written of writtenBy(world)) tell({ kind: 'written', ...written });
  }
  world.close();
  return {
    violations,
    virtualMs: world.clock.nowMs,
    steps: world.clock.steps,
    checks,
    faults: faultCounts,
    log: world.log,
    world,
  };
}

/** A group with some keys, all of them acknowledged. */
async function prepare(world: World, people: People, isOver: () => boolean): Promise<void> {
  await world.run(1_200);
  if (isOver()) return;
  const names = world.members.map(({ name }) => name);
  const spec = {
    name: GROUP,
    members: names.map((site) => ({ site, serial: `${site}-1` })),
    witnessSites: [...world.sites.values()].flatMap(({ name, isWitness }) => (isWitness ? [name] : [])),
    scratch: [{ site: names.at(-1)!, serial: `${names.at(-1)}-2` }],
    rpoSeconds: 8,
    failoverPolicy: FailoverPolicy.AUTOMATIC,
  };
  const made = world.operate((operator) => operator.createGroup({ spec }));
  made.catch(() => {});
  await world.until(made).catch((thrown: unknown) => {
    if (!isOver()) throw thrown;
  });
  if (isOver()) return;
  for (let count = 0; count < FIRST_KEYS; count += 1) people.make(names[0]!, people.nextLabel(), 'secret');
  people.make(names[0]!, `pair ${people.nextLabel()}`, 'pair');
  const isReady = (): boolean => people.facts.keys.every(({ isPromised }) => isPromised);
  for (let waitedMs = 0; !isReady(); waitedMs += LOOK_MS) {
    if (waitedMs > PROTECTED_MS_MAX) throw new Error('the group is not protected, although nothing was done to it');
    await world.run(LOOK_MS);
    if (isOver()) return;
  }
}

/** Another group at the same sites, in partitions of its own. */
async function prepareBystanders(world: World, facts: WorldFacts, isOver: () => boolean): Promise<void> {
  if (isOver()) return;
  const spec = {
    name: OTHER_GROUP,
    members: world.members.map(({ name: site }) => ({ site, serial: `${site}-3` })),
    rpoSeconds: 8,
    failoverPolicy: FailoverPolicy.AUTOMATIC,
  };
  await world.until(world.operate((operator) => operator.createGroup({ spec })));
  facts.otherGroup.makeKey();
  await world.run(PROTECTED_MS_MAX / 6);
}

/** From now on every agent guards its groups. Each has to start again for that. */
async function guard(world: World, { facts, approvals }: People, isOver: () => boolean): Promise<void> {
  if (isOver()) return;
  facts.isGuarded = true;
  for (const site of world.sites.values()) {
    site.approvals = approvals;
    site.kill();
    facts.restarted(site.name);
    site.start();
  }
  await world.run(LOOK_MS * 4);
}

/** Everything that the processes of a world have written down or sent. */
function* writtenBy({ sites, database, log, network }: World) {
  for (const { name, disk } of sites.values())
    for (const [file, bytes] of Object.entries(disk.copy()))
      yield { what: `the ${file} of site ${name}`, place: 'agent', bytes } as const;
  yield { what: 'the database', place: 'coordinator', bytes: database.copy() } as const;
  yield { what: 'a log', place: 'log', bytes: Buffer.from(log.said.join('\n')) } as const;
  yield { what: 'a message', place: 'wire', bytes: network.sent.bytes } as const;
}

async function statusOf(world: World): Promise<GroupState | undefined> {
  const { groups } = await world.operate((operator) => operator.getStatus({}));
  return groups.find(({ spec }) => spec?.name === GROUP);
}

/** Waits until all is well. An operator does what the status asks for. */
async function settle(
  world: World,
  people: People,
  { isOver, violate }: { isOver: () => boolean; violate: (invariant: string, checker: string, text: string) => void },
): Promise<void> {
  const healedMs = world.clock.nowMs;
  const { facts } = people;
  let state: GroupState | undefined;
  let dutyMs = healedMs + DUTY_MS;
  while (world.clock.nowMs - healedMs < SETTLE_MS) {
    await world.run(LOOK_MS);
    if (isOver()) return;
    state = await world.until(statusOf(world).catch(() => undefined)).catch(() => undefined);
    if (isOver() || (state !== undefined && isWell(state, facts))) return;
    if (state === undefined || world.clock.nowMs < dutyMs) continue;
    dutyMs = world.clock.nowMs + DUTY_MS;
    await world.until(duty(world, state, people)).catch(() => {});
  }
  violate(
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
  else if (concerns.some(({ kind }) => kind === 'drill'))
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
