/**
 * The story of keys that no token wraps, on emulated Luna devices. The devices copy them to a standby, and a Backup HSM
 * keeps an archive. The active site is lost, and comes back. Every figure in the result is measured by the run.
 */
import { join } from 'node:path';
import { FailoverPolicy, MemberRole, Movement } from '@antipode/protocol';
import type { DemoCommands, Operator } from '../commands.ts';
import { inventory, lostObjects, type TokenObject, without } from '../inventory.ts';
import { Places, type SiteName } from '../places.ts';
import { type Round, replicateRound } from '../round.ts';
import { type Demonstration, type Outcome, Stage, type Unmet } from '../stage.ts';
import type { Story } from '../story.ts';
import { LunaApplications, protectionsOf, type Uses } from './applications.ts';
import { AT_A, AT_B, type LunaSites, makeLunaSites, SCRATCH, VAULT } from './devices.ts';
import { VaultChapters } from './vault-chapters.ts';

export interface LunaDemoResult extends Outcome {
  /** Nothing here was tried on hardware. */
  readonly hsms: 'emulated';
  readonly keys: { readonly captured: number; readonly uncaptured: number; readonly unextractable: number };
  readonly standby: { readonly clones: number; readonly protection: string };
  readonly archive: { readonly objects: number; readonly generation: number };
  readonly vaultDrill: { readonly proved: number; readonly failed: number };
  readonly promotion: { readonly from: string; readonly to: string; readonly epoch: number };
  readonly failback: { readonly to: string; readonly epoch: number; readonly protection: string };
  /** Keys that the program that made them has used, at each site that was active. */
  readonly uses: Readonly<Record<string, { readonly used: number; readonly wrong: number }>>;
  readonly rejoined: boolean;
  /** Serial numbers of the devices at which `partition clear` was typed. */
  readonly cleared: readonly string[];
}

export const EMULATED =
  'The HSMs are emulated: lunacm is an emulator, and behind each partition is a SoftHSM token. Nothing was tried on hardware.';

const GROUP = 'payments';
const TIMEOUT_MS = 120_000;
/** Each capture of this story is ordered. */
const RPO_SECONDS = 3_600;

export class LunaDemo implements Demonstration {
  readonly #story: Story;
  readonly #commands: DemoCommands;
  readonly #places: Places;
  readonly #stage: Stage;
  readonly #vault: VaultChapters;
  readonly #uses: Record<string, { used: number; wrong: number }> = {};
  #luna!: LunaSites;
  #applications!: LunaApplications;
  /** Objects that the programs have made. */
  #made: TokenObject[] = [];

  constructor({ story, commands }: { story: Story; commands: DemoCommands }) {
    this.#story = story;
    this.#commands = commands;
    this.#places = new Places({
      coordinators: ['main'],
      makeTokens: (place) => {
        this.#luna = makeLunaSites(place);
        return this.#luna.tokens;
      },
    });
    this.#stage = new Stage({ story, places: this.#places, group: GROUP });
    this.#vault = new VaultChapters({
      ...{ story, commands, places: this.#places, stage: this.#stage, group: GROUP, timeoutMs: TIMEOUT_MS },
      devices: () => this.#luna.devices,
    });
  }

  get folder(): string {
    return this.#places.folder;
  }

  get unmet(): readonly Unmet[] {
    return this.#stage.unmet;
  }

  close(options: { keep: boolean }): Promise<void> {
    return this.#places.close(options);
  }

  async run(): Promise<LunaDemoResult> {
    this.#story.say(EMULATED);
    await this.#stage.chapter(
      'Three sites: a Network HSM partition at a, another at b beside a Backup HSM, and a witness without an HSM at c',
      () => this.#setUp(),
    );
    return this.#commands.withOperator(this.#places.operatorFile, async (operator) => {
      const unextractable = await this.#stage.chapter(
        'At site a, keys are made with pkcs11-tool and keytool, as both make them by default: unextractable',
        async () => this.#makeKeys(),
      );
      await this.#stage.chapter('The partitions come to trust each other', () => this.#createGroup(operator));
      const first = await this.#stage.chapter(
        'A live standby: no token wraps these keys, so the devices copy them to b (partition clone)',
        () => this.#standBy(operator),
      );
      const archive = await this.#stage.chapter(
        'The vault at b becomes an archive of the group: it gets a backup by itself',
        () => this.#vault.becomeArchive(operator),
      );
      await this.#stage.chapter('Site a is lost: its agent is killed, and lunacm reaches its partition no more', () =>
        this.#loseSiteA(operator),
      );
      const vaultDrill = await this.#stage.chapter(
        'A drill from the vault with the source dead: restored into the scratch partition, every key used, cleared again',
        () => this.#vault.drill(operator, first.objects),
      );
      const promotion = await this.#stage.chapter(
        'An operator promotes b: every key works there, with its own program',
        () => this.#promote(operator, first),
      );
      await this.#stage.chapter('One more key is made at b, unextractable too', () => this.#makeOneMore(operator));
      const rejoined = await this.#stage.chapter(
        'Site a comes back: fenced, admitted as a standby, and the devices copy the new key to it',
        () => this.#rejoin(operator),
      );
      const failback = await this.#stage.chapter(
        'The group moves back to a: every key works there, the new one too',
        () => this.#moveBack(operator),
      );
      const cleared = await this.#stage.chapter('The log of the emulator: what was destroyed, and where', async () =>
        this.#readLog(),
      );
      return {
        ok: this.unmet.length === 0,
        hsms: 'emulated',
        acknowledged: first.objects,
        lost: promotion.lost,
        keys: { captured: first.objects, uncaptured: failback.uncaptured, unextractable },
        standby: { clones: first.clones, protection: first.protection },
        archive,
        vaultDrill,
        promotion: { from: 'a', to: promotion.to, epoch: promotion.epoch },
        failback: { to: failback.to, epoch: failback.epoch, protection: failback.protection },
        uses: this.#uses,
        rejoined,
        cleared,
      };
    });
  }

  async #setUp(): Promise<void> {
    await this.#places.make(this.#commands);
    this.#applications = new LunaApplications(join(this.#places.folder, 'applications'));
    this.#story.detail(`PostgreSQL, Redis, mutual TLS and everything else live in ${this.#places.folder}, on loopback`);
    this.#story.detail(`lunacm at a and b sees ${AT_A.serial} (a), ${AT_B.serial} (b), ${SCRATCH.serial} (drills)`);
    this.#story.detail(`and the Backup HSM ${VAULT.serial}, all in one cloning domain`);
  }

  /** @returns how many keys are unextractable */
  #makeKeys(): number {
    const token = this.#places.token('a');
    this.#applications.makeKeys(token);
    this.#made = inventory(token.tool);
    const protections = protectionsOf(token.tool('--list-objects').toString(), this.#made);
    const count = protections.filter((one) => !/[:,] extractable/.test(one)).length;
    this.#story.detail('pkcs11-tool: RSA-2048, EC P-256, AES-256, a secret for HMAC');
    this.#story.detail('keytool: RSA-2048 with a chain of two certificates');
    this.#story.detail(`${count} of ${protections.length} private and secret keys are unextractable`);
    this.#stage.expect(count === protections.length && count > 0, 'a key of a program can be extracted');
    this.#use('a');
    return count;
  }

  async #createGroup(operator: Operator): Promise<void> {
    await this.#stage.open(operator, { timeoutMs: TIMEOUT_MS });
    const { operationId } = await operator.createGroup({
      spec: {
        name: GROUP,
        members: (['a', 'b'] as const).map((site) => ({ site, serial: this.#places.site(site).serial })),
        witnessSites: ['c'],
        failoverPolicy: FailoverPolicy.MANUAL,
        movement: Movement.NATIVE,
        rpoSeconds: RPO_SECONDS,
      },
    });
    await this.#commands.follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    this.#story.detail(
      `group ${GROUP}: a is active, b stands by, c votes; keys move by their devices; a person decides`,
    );
  }

  async #standBy(operator: Operator): Promise<Round & { clones: number; protection: string }> {
    const round = await this.#replicate(operator, ['b']);
    const protection = await this.#untilProtected(operator);
    const [list, made] = [this.#list('a'), inventory(this.#places.token('b').tool)];
    const missing = without(this.#made, made);
    this.#stage.expect(missing.length === 0, `${missing.length} objects are not at b`);
    this.#stage.expect(
      protectionsOf(list, this.#made).join() === protectionsOf(this.#list('b'), this.#made).join(),
      'keys have other protections at b',
    );
    const clones = this.#luna.devices.typed.filter(({ command }) => command === 'partition clone').length;
    this.#stage.expect(clones > 0, 'no device has copied anything');
    this.#story.detail(`partition clone was typed ${times(clones)}; the protections of each key at b are those at a`);
    this.#story.detail(`group ${GROUP} is ${protection}; not captured: ${round.uncaptured.length}`);
    return { ...round, clones, protection };
  }

  async #loseSiteA(operator: Operator): Promise<void> {
    await this.#places.site('a').agent?.killAll();
    this.#luna.devices.setReachable(false, AT_A);
    await this.#places.until('site a is down', TIMEOUT_MS, async () => {
      const { sites } = await operator.getStatus({});
      return sites.some(({ site, state }) => site === 'a' && state === 'down');
    });
    this.#story.detail('the agent, its HSM worker and every lunacm that they had started are gone');
  }

  async #promote(operator: Operator, { generation }: Round): Promise<{ to: string; epoch: number; lost: number }> {
    const { to, epoch } = await this.#moveTo(operator, 'b');
    const { members, newest } = await this.#stage.group(operator);
    const acknowledged = Number(members.find(({ site }) => site === 'b')?.acknowledgedGeneration ?? 0n);
    this.#stage.expect(acknowledged >= generation, `b had generation ${acknowledged} of ${newest?.generation}`);
    const found = inventory(this.#places.token(to).tool);
    const lost = lostObjects({ made: this.#made, found, uncapturedKinds: [] });
    for (const { kind, id, label } of lost) this.#story.detail(`LOST: ${kind} ${id} "${label}"`);
    this.#stage.expect(lost.length === 0, `${lost.length} objects are not at ${to}`);
    this.#use('b');
    return { to, epoch, lost: lost.length };
  }

  async #makeOneMore(operator: Operator): Promise<void> {
    const { tool } = this.#places.token('b');
    const before = inventory(tool);
    this.#applications.makeLaterKey(this.#places.token('b'));
    this.#made.push(...without(inventory(tool), before));
    const { operationId } = await operator.replicate({ group: GROUP });
    await this.#commands.follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    const { newest } = await this.#stage.group(operator);
    this.#stage.expect(newest?.uncaptured.length === 0, 'the new key is not captured');
    this.#story.detail(
      `generation ${newest?.generation} has ${newest?.objectCount} objects; no other site is there to copy`,
    );
  }

  async #rejoin(operator: Operator): Promise<boolean> {
    this.#luna.devices.setReachable(true, AT_A);
    this.#places.startAgents(['a']);
    const newest = Number((await this.#stage.group(operator)).newest?.generation ?? 0n);
    const state = await this.#places.until('site a has caught up', TIMEOUT_MS, async () => {
      const group = await this.#stage.group(operator);
      const a = group.members.find(({ site }) => site === 'a');
      return Number(a?.acknowledgedGeneration ?? 0n) >= newest && a?.role === MemberRole.STANDBY ? group : undefined;
    });
    const a = state.members.find(({ site }) => site === 'a');
    const protection = await this.#untilProtected(operator);
    this.#story.detail(`site a acknowledges generation ${a?.acknowledgedGeneration}, with the key made at b`);
    this.#story.detail(`group ${GROUP} is ${protection}`);
    this.#stage.expect(state.activeSite === 'b', `site ${state.activeSite} is active`);
    return state.activeSite === 'b';
  }

  async #moveBack(operator: Operator): Promise<{ to: string; epoch: number; protection: string; uncaptured: number }> {
    const { to, epoch } = await this.#moveTo(operator, 'a', { planned: true });
    this.#use('a');
    const round = await this.#replicate(operator, ['b']);
    const protection = await this.#untilProtected(operator);
    this.#stage.expect(round.uncaptured.length === 0, `${round.uncaptured.length} objects are not captured`);
    this.#story.detail(`group ${GROUP} is ${protection}; not captured: ${round.uncaptured.length}`);
    return { to, epoch, protection, uncaptured: round.uncaptured.length };
  }

  /** Nothing but the scratch partition is ever cleared, and nothing is initialised. */
  #readLog(): string[] {
    const { typed } = this.#luna.devices;
    const at = (pattern: RegExp): string[] => [
      ...new Set(typed.filter(({ command }) => pattern.test(command)).map(({ serial }) => serial)),
    ];
    const cleared = at(/^partition clear$/);
    const initialised = at(/init|delete$/);
    this.#story.detail(`${typed.length} commands were typed into lunacm`);
    this.#story.detail(`partition clear: ${cleared.join(', ')} (the scratch partition is ${SCRATCH.serial})`);
    this.#stage.expect(
      cleared.join() === SCRATCH.serial,
      `partition clear was typed at ${cleared.join(', ') || 'no slot'}`,
    );
    this.#stage.expect(initialised.length === 0, `something was initialised or deleted at ${initialised.join(', ')}`);
    return cleared;
  }

  // --- helpers ---

  /** Moves the active role, and waits until the site serves. */
  async #moveTo(
    operator: Operator,
    toSite: SiteName,
    { planned = false }: { planned?: boolean } = {},
  ): Promise<{ to: string; epoch: number }> {
    const { operationId } = await operator.failover({ group: GROUP, toSite, planned });
    const { outcome } = await this.#commands.follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    const { site, epoch } = await operator.resolve({ group: GROUP });
    const proved = outcome.case === 'failover' ? (outcome.value.provedObjects ?? 0) : 0;
    this.#story.detail(`site ${site} is active in epoch ${epoch}; ${proved} objects proved there before it was`);
    this.#stage.expect(site === toSite, `site ${site} is active`);
    return { to: site, epoch: Number(epoch) };
  }

  /** Each program uses the keys that it has made. */
  #use(site: SiteName): void {
    const { count, wrong }: Uses = this.#applications.use(this.#places.token(site));
    const used = Object.values(count).reduce((sum, one) => sum + one, 0);
    this.#uses[site] = { used, wrong: wrong.length };
    const right = wrong.length === 0 ? 'each as where it was made' : `${wrong.length} NOT as where they were made`;
    this.#story.detail(
      `at ${site}: pkcs11-tool uses ${count['pkcs11-tool']} keys, keytool one and its chain; ${right}`,
    );
    for (const { key } of wrong) this.#stage.expect(false, `key ${key} does something else at site ${site}`);
  }

  #list(site: SiteName): string {
    return this.#places.token(site).tool('--list-objects').toString();
  }

  async #replicate(operator: Operator, sites: readonly SiteName[]): Promise<Round> {
    const [commands, story] = [this.#commands, this.#story];
    const round = await replicateRound({ operator, commands, story, group: GROUP, sites, timeoutMs: TIMEOUT_MS });
    for (const site of sites)
      this.#stage.expect(round.acknowledgedBy.includes(site), `site ${site} has not acknowledged`);
    this.#stage.expect(round.uncaptured.length === 0, `${round.uncaptured.length} objects are not captured`);
    return round;
  }

  #untilProtected(operator: Operator): Promise<string> {
    return this.#places.until('the group is protected', TIMEOUT_MS, async () => {
      const { protection } = await this.#stage.group(operator);
      return protection === 'protected' && protection;
    });
  }
}

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`);
