/** The people of a world: applications that make, replace and delete keys where `resolve` sends them, and operators. */
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { AntipodeError } from '@antipode/runtime';
import type { ApprovalSettings } from '@antipode/site-agent/testing';
import { Chance } from '../simulator/chance.ts';
import type { WorldFacts } from '../simulator/facts.ts';
import { keyValueOf } from '../simulator/key-values.ts';
import { GROUP, type World } from '../simulator/world.ts';
import type { Act } from './story.ts';

export class People {
  readonly #world: World;
  readonly #facts: WorldFacts;
  #made: number;
  readonly #officers: SomeOperators;
  #approvals = 0;

  constructor({
    world,
    facts,
    labels = 0,
    officers = new SomeOperators(),
  }: { world: World; facts: WorldFacts; labels?: number; officers?: SomeOperators }) {
    this.#made = labels;
    this.#officers = officers;
    this.#world = world;
    this.#facts = facts;
  }

  /** Nobody waits for it. A failure is a line of the log and not a violation: the system was disturbed. */
  do(act: Act): void {
    const work = WORK_ACTS[act.kind] ?? ORDER_ACTS[act.kind];
    if (work === undefined) throw new Error(`nobody knows how to do ${act.kind}`);
    const who = act.kind in WORK_ACTS ? 'application' : 'operator';
    work(act, this, new Chance(`${this.#world.seed} people ${act.id}`)).then(
      (outcome) => this.#world.log.add(who, act.kind, outcome),
      (thrown: unknown) => this.#world.log.add(who, act.kind, `failed: ${AntipodeError.from(thrown).code}`),
    );
  }

  get world(): World {
    return this.#world;
  }

  get facts(): WorldFacts {
    return this.#facts;
  }

  /** How many labels were given. */
  get labels(): number {
    return this.#made;
  }

  /** Two people approve that a failover to this site loses what it may have to lose, or that the group is reseated. */
  async approve(action: 'failover' | 'reseat', sites: readonly string[]): Promise<void> {
    this.#approvals += 1;
    const [first = ''] = sites;
    const partitions = sites.map((site) => ({ site, serial: `${site}-1`, role: 'member', identity: '' }) as const);
    const others = this.#world.members.map(({ name }) => name).filter((name) => !sites.includes(name));
    const limits =
      action === 'failover'
        ? { losesAtMost: 100, keepsGeneration: 0, withoutHearing: others }
        : { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
    const nonce = this.#approvals.toString(16).padStart(32, '0');
    const epochs = { from: 1, to: 100 };
    const fromMs = this.#world.machine(first).wallMs();
    const { request, signatures } = this.#officers.sign(
      someRequest({ action, partitions, limits, nonce, epochs }, fromMs),
    );
    const approval = { request, signatures: [...signatures] };
    await this.#world.operate((operator) => operator.submitApproval({ approval }));
  }

  nextLabel(): string {
    this.#made += 1;
    return `key ${this.#made}`;
  }

  /** The site that serves. An application reaches its token only while the site has power and its HSM answers. */
  async serving(): Promise<string> {
    const { site } = await this.#world.operate((operator) => operator.resolve({ group: GROUP }));
    const { isOff, member } = this.#world.site(site);
    if (isOff || member.hsm.faults.isAbsent) throw new AntipodeError('HSM_UNAVAILABLE', 'the token does not answer');
    return site;
  }

  make(site: string, label: string, kind: 'secret' | 'pair'): void {
    const { hsm } = this.#world.site(site).member;
    this.#facts.made(kind === 'secret' ? hsm.addSecret(label) : hsm.addEcPair(label), { label, site });
  }

  /** @returns whether the token had it */
  destroy(site: string, label: string): boolean {
    const { hsm } = this.#world.site(site).member;
    const found = hsm.labelled(label);
    for (const object of found) {
      hsm.remove(object);
      const key = this.#facts.keys.find(({ value }) => value === keyValueOf(object));
      if (key !== undefined) key.endedAtMs ??= this.#world.clock.nowMs;
    }
    this.#facts.tokenChanged(site);
    return found.length > 0;
  }

  /** A label that lives here, of this kind. */
  some(site: string, chance: Chance, prefix: string): string | undefined {
    const held = this.#facts.valuesAt(site);
    const labels = this.#facts.keys
      .filter(({ label, value, endedAtMs }) => label.startsWith(prefix) && endedAtMs === undefined && held.has(value))
      .map(({ label }) => label);
    return labels.length === 0 ? undefined : chance.pick(labels);
  }
}

/** As the agents of a guarded group have it in their configuration. */
export function approvalsBy({ policy: { required, operators } }: SomeOperators): ApprovalSettings {
  return { required, operators: [...operators], groups: {} };
}

type Deed = (act: Act, people: People, chance: Chance) => Promise<string>;

const WORK_ACTS: Readonly<Record<string, Deed>> = {
  'make-key': async (_act, people) => {
    const site = await people.serving();
    const label = people.nextLabel();
    people.make(site, label, 'secret');
    return `${label} at ${site}`;
  },
  'make-pair': async (_act, people) => {
    const site = await people.serving();
    const label = `pair ${people.nextLabel()}`;
    people.make(site, label, 'pair');
    return `${label} at ${site}`;
  },
  'replace-pair': async (_act, people, chance) => {
    const site = await people.serving();
    const label = people.some(site, chance, 'pair');
    if (label === undefined) return 'nothing to replace';
    people.destroy(site, label);
    people.make(site, label, 'pair');
    return `${label} at ${site}`;
  },
  'delete-key': async (_act, people, chance) => {
    const site = await people.serving();
    const label = people.some(site, chance, 'key');
    if (label === undefined) return 'nothing to delete';
    people.destroy(site, label);
    return `${label} at ${site}`;
  },
};

const ordered = async ({ operationId }: { operationId: string }): Promise<string> =>
  `ordered ${operationId.slice(0, 8)}`;

const ORDER_ACTS: Readonly<Record<string, Deed>> = {
  move: ({ at }, { world }) =>
    world.operate((operator) => operator.failover({ group: GROUP, toSite: at })).then(ordered),
  approve: ({ at }, people) => people.approve('failover', [at]).then(() => 'submitted'),
  'move-with-loss': async ({ at }, { world, facts }) => {
    const { losses } = await world.operate((operator) => operator.planFailover({ group: GROUP, toSite: at }));
    facts.isLossAccepted = true;
    const order = { group: GROUP, toSite: at, acceptLoss: true, acceptedLosses: losses };
    return world.operate((operator) => operator.failover(order)).then(ordered);
  },
  'move-anywhere': (_act, { world }) => world.operate((operator) => operator.failover({ group: GROUP })).then(ordered),
  reseat: (_act, { world }) => world.operate((operator) => operator.reseatGroup({ group: GROUP })).then(ordered),
  replicate: (_act, { world }) => world.operate((operator) => operator.replicate({ group: GROUP })).then(ordered),
  rotate: (_act, { world }) => world.operate((operator) => operator.rotateDomainKey({ group: GROUP })).then(ordered),
  drill: (_act, { world }) => world.operate((operator) => operator.runDrill({ group: GROUP })).then(ordered),
  scrub: ({ at }, { world }) =>
    world
      .operate((operator) => operator.runScrub({ group: GROUP, site: at }))
      .then(({ operationIds }) => `ordered ${operationIds.length}`),
  cancel: async (_act, { world }) => {
    const { operations } = await world.operate((operator) => operator.listOperations({ group: GROUP }));
    const open = operations.find(({ status }) => status === 'open' || status === 'parked');
    if (open === undefined) return 'nothing to cancel';
    await world.operate((operator) => operator.cancelOperation({ operationId: open.id }));
    return `cancelled a ${open.kind} in ${open.phase}`;
  },
};
