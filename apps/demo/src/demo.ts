/**
 * The main job, end to end, on real tokens and real processes: three sites and a coordinator on this machine. Every figure
 * in the result is measured by the run, and `ok` is what became of the expectations; a step that fails ends the
 * demonstration with its name.
 */
import { join } from 'node:path';
import { FailoverPolicy, type GroupState, MemberRole } from '@antipode/protocol';
import { systemClock } from '@antipode/runtime';
import { exportSigningKey, makeKeyAtB, makeKeys, makeOneMoreKey, signAndVerify } from './applications.ts';
import type { DemoCommands, Operator } from './commands.ts';
import { inventory, lostObjects, type TokenObject, without } from './inventory.ts';
import { Places, SITES, type SiteName, type SiteTokens } from './places.ts';
import { type Round, replicateRound } from './round.ts';
import { type Demonstration, type Outcome, Stage, type Unmet } from './stage.ts';
import type { Story } from './story.ts';
import { makeDemoToken } from './token.ts';

export interface DemoResult extends Outcome {
  readonly keys: {
    readonly captured: number;
    readonly uncaptured: readonly { readonly id: string; readonly reason: string }[];
  };
  readonly replication: { readonly acknowledgedBy: readonly string[]; readonly secondRoundObjects: number };
  readonly drill: { readonly proved: number; readonly failed: number };
  readonly failover: {
    readonly from: string;
    readonly to: string;
    readonly epoch: number;
    readonly recoveryTimeMs: number;
  };
  readonly verifiedByOpenssl: boolean;
  readonly rejoined: boolean;
}

const GROUP = 'payments';
const TIMEOUT_MS = 60_000;
/** Made unextractable on purpose, so it cannot leave site a. */
const UNEXTRACTABLE = { kind: 'private-key/rsa', reason: 'unextractable' };

export class Demo implements Demonstration {
  readonly #story: Story;
  readonly #commands: DemoCommands;
  readonly #places = new Places({ coordinators: ['main', 'south'], makeTokens });
  readonly #stage: Stage;
  /** What pkcs11-tool made at site a. */
  #made: TokenObject[] = [];

  constructor({ story, commands }: { story: Story; commands: DemoCommands }) {
    this.#story = story;
    this.#commands = commands;
    this.#stage = new Stage({ story, places: this.#places, group: GROUP });
  }

  get folder(): string {
    return this.#places.folder;
  }

  get unmet(): readonly Unmet[] {
    return this.#stage.unmet;
  }

  async run(): Promise<DemoResult> {
    await this.#stage.chapter(
      'Three sites, each with a SoftHSM token and an agent; two coordinators, which share a database',
      () => this.#setUp(),
    );
    return this.#commands.withOperator(this.#places.operatorFile, async (operator) => {
      const publicKeyFile = await this.#stage.chapter(
        'At site a, keys are made with pkcs11-tool, not with our code',
        async () => this.#makeKeys(),
      );
      await this.#stage.chapter(
        'The partitions come to trust each other, and get a domain key that no token gives out',
        () => this.#createGroup(operator),
      );
      const first = await this.#stage.chapter('They replicate to b and c: sealed, restored, read back, used', () =>
        this.#replicateAll(operator),
      );
      const second = await this.#stage.chapter('One more key: only that one moves', () =>
        this.#replicateOneMore(operator),
      );
      const drill = await this.#stage.chapter(
        'A drill at c: everything is restored into a scratch token, every key is proved, the token is emptied again',
        () => this.#drill(operator),
      );
      const before = await this.#stage.group(operator);
      const failover = await this.#stage.chapter(
        'Site a is lost, and the leading coordinator with it: every process of both is killed with SIGKILL',
        () => this.#loseSiteA(operator),
      );
      const atB = await this.#stage.chapter('At b, pkcs11-tool signs with the key that was made at a', async () => ({
        lost: this.#countLost(before, failover),
        verifiedByOpenssl: await this.#signAtB(operator, publicKeyFile),
      }));
      const third = await this.#stage.chapter('A key made at b replicates to c', async () => {
        makeKeyAtB(this.#places.token('b'));
        return this.#replicate(operator, ['c']);
      });
      const rejoined = await this.#stage.chapter('Site a comes back: fenced, admitted as a standby, caught up', () =>
        this.#rejoin(operator, third.generation),
      );
      await this.#stage.chapter('A drill passes again', () => this.#drill(operator));
      return {
        ok: this.unmet.length === 0,
        acknowledged: first.objects + second.moved,
        keys: { captured: first.objects, uncaptured: first.uncaptured.map(({ id, reason }) => ({ id, reason })) },
        replication: { acknowledgedBy: first.acknowledgedBy, secondRoundObjects: second.moved },
        drill,
        failover: { from: 'a', to: failover.to, epoch: failover.epoch, recoveryTimeMs: failover.recoveryTimeMs },
        verifiedByOpenssl: atB.verifiedByOpenssl,
        rejoined,
        lost: atB.lost,
      };
    });
  }

  close(options: { keep: boolean }): Promise<void> {
    return this.#places.close(options);
  }

  async #setUp(): Promise<void> {
    await this.#places.make(this.#commands);
    this.#story.detail(`PostgreSQL, Redis, mutual TLS and everything else live in ${this.#places.folder}, on loopback`);
  }

  async #createGroup(operator: Operator): Promise<void> {
    await this.#stage.open(operator, { timeoutMs: TIMEOUT_MS });
    const { operationId } = await operator.createGroup({
      spec: {
        name: GROUP,
        members: SITES.map((name) => ({ site: name, serial: this.#places.site(name).serial })),
        scratch: [{ site: 'c', serial: this.#places.scratchSerial }],
        failoverPolicy: FailoverPolicy.AUTOMATIC,
      },
    });
    await this.#commands.follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    this.#story.detail(`group ${GROUP}: a is active, b and c stand by, automatic failover, three sites vote`);
  }

  #makeKeys(): string {
    const token = this.#places.token('a');
    makeKeys(token, this.#places.site('a').folder);
    this.#made = inventory(token.tool);
    const publicKeyFile = join(this.#places.folder, 'root-of-trust.der');
    exportSigningKey(token, publicKeyFile);
    this.#story.detail(
      'RSA-2048, EC P-256, AES-256, a generic secret, a certificate, and an RSA key that cannot leave its token',
    );
    this.#story.detail(`the public half of the EC key is exported with pkcs11-tool, for openssl to judge later`);
    return publicKeyFile;
  }

  async #replicateAll(operator: Operator) {
    const round = await this.#replicate(operator, ['b', 'c']);
    this.#stage.expect(round.objects > 0, 'nothing was captured');
    this.#stage.expect(
      round.uncaptured.length === 1 &&
        round.uncaptured.every(({ kind, reason }) => kind === UNEXTRACTABLE.kind && reason === UNEXTRACTABLE.reason),
      'other objects than the unextractable one were reported as not captured',
    );
    this.#stage.expect(
      round.objects + round.uncaptured.length === this.#made.length,
      `${this.#made.length} objects were made, ${round.objects} captured and ${round.uncaptured.length} reported as not captured`,
    );
    return round;
  }

  async #replicateOneMore(operator: Operator) {
    const token = this.#places.token('a');
    const before = inventory(token.tool);
    makeOneMoreKey(token);
    this.#made.push(...without(inventory(token.tool), before));
    const round = await this.#replicate(operator, ['b', 'c']);
    this.#stage.expect(round.moved === 1, `${round.moved} objects moved`);
    return round;
  }

  async #replicate(operator: Operator, sites: readonly SiteName[]): Promise<Round> {
    const [commands, story] = [this.#commands, this.#story];
    const round = await replicateRound({ operator, commands, story, group: GROUP, sites, timeoutMs: TIMEOUT_MS });
    for (const site of sites)
      this.#stage.expect(round.acknowledgedBy.includes(site), `site ${site} has not acknowledged`);
    return round;
  }

  async #drill(operator: Operator): Promise<{ proved: number; failed: number }> {
    const { operationId } = await operator.runDrill({ group: GROUP, site: 'c' });
    await this.#commands.follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    const { drills } = await operator.listDrills({ group: GROUP });
    const drill = drills.find(({ id }) => id === operationId);
    const proof = { proved: drill?.proof?.proved ?? 0, failed: drill?.proof?.failed ?? 0 };
    this.#story.detail(
      `generation ${drill?.generation}: ${proof.proved} objects proved, ${proof.failed} failed, recovery time ${this.#commands.duration(drill?.recoveryTimeMs)}`,
    );
    const newest = (await this.#stage.group(operator)).newest?.objectCount;
    this.#stage.expect(
      drill?.passed === true && proof.failed === 0 && proof.proved === newest,
      `${proof.proved} of ${newest} objects proved, ${proof.failed} failed`,
    );
    this.#story.detail('the evidence is signed by the scratch partition itself');
    return proof;
  }

  async #loseSiteA(operator: Operator): Promise<{ to: string; epoch: number; recoveryTimeMs: number; proved: number }> {
    const { coordinator: leading } = await operator.getStatus({});
    const lostAtMs = systemClock.monotonicMs();
    await Promise.all([this.#places.site('a').agent?.killAll(), this.#places.killCoordinator(leading)]);
    this.#story.detail('no order is given to anybody from here on');
    const place = await this.#places.until('another site is active', TIMEOUT_MS, async () => {
      const answer = await operator.resolve({ group: GROUP });
      return answer.site === 'a' ? undefined : answer;
    });
    const measuredMs = Math.round(systemClock.monotonicMs() - lostAtMs);
    const { operations, coordinator: successor } = await operator.getStatus({});
    this.#story.detail(`coordinator ${leading} led when it was killed, coordinator ${successor} leads now`);
    this.#stage.expect(successor !== leading, `coordinator ${successor} leads after the loss of ${leading}`);
    const outcome = operations.find(({ kind }) => kind === 'failover')?.outcome;
    const proved = outcome?.case === 'failover' ? (outcome.value.provedObjects ?? 0) : 0;
    this.#story.detail(
      `site ${place.site} is active in epoch ${place.epoch}, ${this.#commands.duration(measuredMs)} after the kill; ${proved} objects proved there before it was`,
    );
    this.#stage.expect(place.site === 'b' && place.epoch > 1n, `site ${place.site} is active in epoch ${place.epoch}`);
    this.#story.detail(`resolve: ${place.module}, token ${place.tokenLabel}, serial ${place.serial}`);
    return {
      to: place.site,
      epoch: Number(place.epoch),
      recoveryTimeMs: measuredMs,
      proved,
    };
  }

  /**
   * Objects that were acknowledged by the new site before the loss and are not there after it: those that another program
   * does not find, or more where fewer were proved than the generation holds.
   */
  #countLost(before: GroupState, { to, proved }: { to: string; proved: number }): number {
    const { newest, members } = before;
    const acknowledged = members.find(({ site }) => site === to)?.acknowledgedGeneration ?? 0n;
    this.#stage.expect(
      newest !== undefined && acknowledged >= newest.generation,
      `site ${to} had acknowledged generation ${acknowledged} of ${newest?.generation}`,
    );
    const found = inventory(this.#places.token(to).tool);
    const uncapturedKinds = (newest?.uncaptured ?? []).map(({ kind }) => kind);
    const lost = lostObjects({ made: this.#made, found, uncapturedKinds });
    const unproved = Math.max(0, (newest?.objectCount ?? 0) - proved);
    this.#story.detail(
      `${this.#made.length} objects were made at a, ${this.#made.length - without(this.#made, found).length} are at ${to}, ${uncapturedKinds.length} had been reported as not captured`,
    );
    for (const { kind, id, label } of lost) this.#story.detail(`LOST: ${kind} ${id} "${label}"`);
    const count = Math.max(lost.length, unproved);
    this.#stage.expect(count === 0, `${lost.length} objects are not at site ${to}, ${unproved} were not proved there`);
    return count;
  }

  async #signAtB(operator: Operator, publicKeyFile: string): Promise<boolean> {
    const { site } = await operator.resolve({ group: GROUP });
    const said = signAndVerify(this.#places.token(site), { folder: this.#places.folder, publicKeyFile });
    this.#story.detail(`openssl, with the public key exported at a before the loss: ${said}`);
    this.#stage.expect(said === 'Verified OK', 'openssl does not accept the signature');
    return said === 'Verified OK';
  }

  async #rejoin(operator: Operator, generation: number): Promise<boolean> {
    this.#places.startAgents(['a']);
    const state = await this.#places.until('site a has caught up', TIMEOUT_MS, async () => {
      const group = await this.#stage.group(operator);
      const a = group.members.find(({ site }) => site === 'a');
      return Number(a?.acknowledgedGeneration ?? 0) >= generation ? group : undefined;
    });
    const newest = state.members.find(({ site }) => site === 'a');
    this.#story.detail(
      `site a acknowledges generation ${newest?.acknowledgedGeneration}, with the key made at b; ${newest?.divergentObjects ?? 0} divergent objects`,
    );
    const isStandby = newest?.role === MemberRole.STANDBY && state.activeSite !== 'a';
    this.#stage.expect(isStandby, `site a is not a standby, and ${state.activeSite} is active`);
    return isStandby;
  }
}

/** A token at each site, and one for drills at c. */
function makeTokens({ folderOf }: { folderOf: (site: SiteName) => string }): Record<SiteName, SiteTokens> {
  const member = (name: SiteName): SiteTokens => ({
    token: makeDemoToken({ folder: join(folderOf(name), 'hsm'), label: `payments-${name}` }),
  });
  const scratch = makeDemoToken({ folder: join(folderOf('c'), 'scratch-hsm'), label: 'scratch-c' });
  return { a: member('a'), b: member('b'), c: { ...member('c'), scratch } };
}
