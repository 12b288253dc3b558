/**
 * A world with a group and some keys, all of them acknowledged, as every story begins. It is made once in a process for
 * each layout of sites: a story begins with a copy of its disks, tokens and tables, and with processes of its own.
 */
import { FailoverPolicy } from '@antipode/protocol';
import type { KeyFacts } from '../checkers/index.ts';
import type { MadeKey } from '../simulator/other-group.ts';
import { GROUP, OTHER_GROUP, World, type WorldCopy } from '../simulator/world.ts';
import { People } from './people.ts';
import type { Story } from './story.ts';
import { type Violation, Watch } from './watch.ts';

type Layout = Pick<Story, 'sites' | 'witnesses' | 'hasBystanders'>;

export interface Prepared {
  readonly world: World;
  readonly copy: WorldCopy;
  readonly keys: readonly KeyFacts[];
  /** Keys of the other group. */
  readonly bystanders: readonly MadeKey[];
  /** Of the labels that were given. */
  readonly labels: number;
  /** Rules that were broken although nothing was done to it. No story begins then. */
  readonly violations: readonly Violation[];
}

const FIRST_KEYS = 3;
const PROTECTED_MS_MAX = 60_000;
const LOOK_MS = 100;
/** From the end of these processes until those of a story begin. */
const AFTER_MS = 100;

const known = new Map<string, Promise<Prepared>>();

export async function prepared({ sites, witnesses, hasBystanders = false }: Layout): Promise<Prepared> {
  const layout = { sites, witnesses, hasBystanders };
  const key = JSON.stringify(layout);
  const made = known.get(key) ?? prepare(layout);
  known.set(key, made);
  const result = await made;
  // The caller gives the memory of this world back. The next one needs a world of its own.
  if (result.violations.length > 0) known.delete(key);
  return result;
}

async function prepare(layout: Layout): Promise<Prepared> {
  const world = await World.start({ seed: 'prepared', ...layout, coordinators: ['one'] });
  const watch = new Watch(world);
  const { facts, violations } = watch;
  const people = new People({ world, facts });
  await makeGroups(world, watch, people);
  if (!watch.isOver) await world.until(world.coordinator('one').graph!.close());
  world.close();
  if (!watch.isOver) watch.tellWritten();
  world.clock.nowMs += AFTER_MS;
  const copy = world.copy();
  if (violations.length === 0) world.forget();
  return { world, copy, keys: facts.keys, bystanders: facts.otherGroup.made, labels: people.labels, violations };
}

async function makeGroups(world: World, watch: Watch, people: People): Promise<void> {
  await world.run(1_200);
  if (watch.isOver) return;
  const names = world.members.map(({ name }) => name);
  const policies = { rpoSeconds: 8, failoverPolicy: FailoverPolicy.AUTOMATIC };
  const hasBystanders = world.members.some(({ bystander }) => bystander !== undefined);
  const create = async (): Promise<void> => {
    const members = names.map((site) => ({ site, serial: `${site}-1` }));
    const witnessSites = [...world.sites.values()].flatMap(({ name, isWitness }) => (isWitness ? [name] : []));
    const scratch = [{ site: names.at(-1)!, serial: `${names.at(-1)}-2` }];
    const spec = { name: GROUP, members, witnessSites, scratch, ...policies };
    await world.operate((operator) => operator.createGroup({ spec }));
    if (!hasBystanders) return;
    const others = names.map((site) => ({ site, serial: `${site}-3` }));
    await world.operate((operator) =>
      operator.createGroup({ spec: { name: OTHER_GROUP, members: others, ...policies } }),
    );
  };
  const made = create();
  made.catch(() => {});
  await world.until(made).catch((thrown: unknown) => {
    if (watch.isOver) return;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    watch.violate('I10', 'liveness', `the group is not made, although nothing was done to it: ${why}`);
  });
  if (watch.isOver) return;
  for (let count = 0; count < FIRST_KEYS; count += 1) people.make(names[0]!, people.nextLabel(), 'secret');
  people.make(names[0]!, `pair ${people.nextLabel()}`, 'pair');
  if (hasBystanders) watch.facts.otherGroup.makeKey();
  const isReady = readiness(world, watch);
  for (let waitedMs = 0; !isReady(); waitedMs += LOOK_MS) {
    if (waitedMs > PROTECTED_MS_MAX) {
      const text = `the group is not protected, although nothing was done to it: ${openIn(world)}`;
      watch.violate('I10', 'liveness', text);
      return;
    }
    await world.run(LOOK_MS);
    if (watch.isOver) return;
  }
}

/** The operations that have not ended. */
const openIn = ({ database }: World): string =>
  database
    .rows("SELECT kind, site, phase, status, error_code, attempts FROM intent WHERE status IN ('open', 'parked')")
    .map((row) => Object.values(row).join(' '))
    .join('; ');

/** The next capture is as far away as it can be, whatever the moment at which everything was acknowledged. */
function readiness({ database }: World, { facts }: Watch): () => boolean {
  const newest = (): unknown =>
    database.rows(`SELECT max(recovery_point_ms) AS at FROM generation WHERE grp = '${GROUP}'`)[0]?.['at'];
  let promised: unknown;
  return () => {
    if (!facts.keys.every(({ isPromised }) => isPromised)) return false;
    if (facts.bystanders.some(({ missingAt }) => missingAt().length > 0)) return false;
    promised ??= newest();
    const open = database.rows("SELECT id FROM intent WHERE status IN ('open', 'parked')");
    return open.length === 0 && newest() !== promised;
  };
}
