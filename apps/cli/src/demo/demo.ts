/**
 * The main job, end to end, on real tokens and real processes: three sites and a coordinator on this machine. Every figure
 * in the result is measured by the run; a step that does not hold ends the demonstration with its name.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FailoverPolicy, type GroupState, type Operation } from '@antipode/protocol';
import { AntipodeError, silentLog, systemClock } from '@antipode/runtime';
import { initialisePartition, loadAgentConfig, pinIdentities } from '@antipode/site-agent';
import { replicateOnce } from '../commands/replicate.ts';
import {
  makeAuthority,
  makeCoordinatorFolder,
  makeOperatorFolder,
  makeSiteFolder,
  type PartitionDraft,
} from '../folders.ts';
import { follow, type Operator, withOperator } from '../operator.ts';
import { duration } from '../output.ts';
import { DemoProcess, freePort } from './processes.ts';
import type { Story } from './story.ts';
import { type DemoToken, makeDemoToken, openssl, softhsmModule } from './token.ts';

export interface DemoResult {
  readonly ok: true;
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
  readonly lost: number;
}

const GROUP = 'payments';
const SITES = ['a', 'b', 'c'] as const;
type SiteName = (typeof SITES)[number];
const TIMEOUT_MS = 60_000;
const POLL_MS = 100;

interface DemoSite {
  readonly name: SiteName;
  readonly folder: string;
  readonly configFile: string;
  readonly token: DemoToken;
  serial: string;
  agent: DemoProcess | undefined;
}

export class Demo {
  readonly #story: Story;
  readonly #root: string;
  readonly #sites = new Map<SiteName, DemoSite>();
  #scratchSerial = '';
  #coordinator: DemoProcess | undefined;
  #operatorFile = '';

  constructor({ story }: { story: Story }) {
    this.#story = story;
    this.#root = mkdtempSync(join(tmpdir(), 'antipode-demo-'));
    // PostgreSQL runs as another user where we are root, and must be able to pass through.
    chmodSync(this.#root, 0o711);
  }

  get folder(): string {
    return this.#root;
  }

  async run(): Promise<DemoResult> {
    const story = this.#story;
    await story.chapter(
      'Three sites, each with a SoftHSM token and an agent; a coordinator at none of them, so that it outlives any',
      () => this.#setUp(),
    );
    return withOperator(this.#operatorFile, async (operator) => {
      const publicKeyFile = await story.chapter(
        'At site a, keys are made with pkcs11-tool, not with our code',
        async () => this.#makeKeys(),
      );
      await story.chapter('The partitions come to trust each other, and get a domain key that no token gives out', () =>
        this.#createGroup(operator),
      );
      const first = await story.chapter('They replicate to b and c: sealed, restored, read back, used', () =>
        this.#replicate(operator, ['b', 'c']),
      );
      const second = await story.chapter('One more key: only that one moves', async () => {
        this.#site('a').token.tool(
          '--keygen',
          '--key-type',
          'aes:32',
          '--id',
          '0a',
          '--label',
          'one more',
          '--sensitive',
          '--extractable',
        );
        return this.#replicate(operator, ['b', 'c']);
      });
      const drill = await story.chapter(
        'A drill at c: everything is restored into a scratch token, every key is proved, the token is emptied again',
        () => this.#drill(operator),
      );
      const before = await this.#group(operator);
      const failover = await story.chapter('Site a is lost: every process of it is killed with SIGKILL', () =>
        this.#loseSiteA(operator),
      );
      const verifiedByOpenssl = await story.chapter(
        'At b, pkcs11-tool signs with the key that was made at a',
        async () => this.#signAtB(operator, publicKeyFile),
      );
      const third = await story.chapter('A key made at b replicates to c', async () => {
        this.#site('b').token.tool(
          '--keypairgen',
          '--key-type',
          'EC:prime256v1',
          '--id',
          '0b',
          '--label',
          'made at b',
          '--usage-sign',
          '--extractable',
        );
        return this.#replicate(operator, ['c']);
      });
      const rejoined = await story.chapter('Site a comes back: fenced, admitted as a standby, caught up', () =>
        this.#rejoin(operator, third.generation),
      );
      await story.chapter('A drill passes again', () => this.#drill(operator));

      const acknowledged = before.newest?.objectCount ?? 0;
      return {
        ok: true,
        keys: { captured: first.objects, uncaptured: first.uncaptured },
        replication: { acknowledgedBy: first.acknowledgedBy, secondRoundObjects: second.moved },
        drill,
        failover: { from: 'a', to: failover.to, epoch: failover.epoch, recoveryTimeMs: failover.recoveryTimeMs },
        verifiedByOpenssl,
        rejoined,
        lost: Math.max(0, acknowledged - failover.proved),
      };
    });
  }

  /** Ends every process, and removes the folder unless it is to be kept. Idempotent. */
  async close({ keep }: { keep: boolean }): Promise<void> {
    await Promise.all([...this.#sites.values()].map(({ agent }) => agent?.stop()));
    await this.#coordinator?.stop();
    if (!keep) rmSync(this.#root, { recursive: true, force: true });
  }

  // --- chapters ---

  async #setUp(): Promise<void> {
    const authority = join(this.#root, 'authority');
    await makeAuthority({ folder: authority, trustDomain: 'demo.antipode' });
    const coordinator = { id: 'main', address: `localhost:${await freePort()}` };
    await makeCoordinatorFolder({
      folder: join(this.#root, 'coordinator'),
      authority,
      id: coordinator.id,
      listen: coordinator.address,
      timings: 'fast',
    });
    await makeOperatorFolder({ folder: join(this.#root, 'operator'), authority, name: 'demo', coordinator });
    this.#operatorFile = join(this.#root, 'operator', 'operator.yaml');
    for (const name of SITES) {
      const folder = join(this.#root, `site-${name}`);
      const hsm = join(folder, 'hsm');
      mkdirSync(hsm, { recursive: true });
      const token = makeDemoToken({ folder: hsm, label: `payments-${name}` });
      const partitions = [this.#partition('main', token, 'member')];
      if (name === 'c')
        partitions.push(
          this.#partition(
            'scratch',
            makeDemoToken({ folder: join(folder, 'scratch-hsm'), label: 'scratch-c' }),
            'scratch',
          ),
        );
      await makeSiteFolder({ folder, authority, site: name, listen: 'localhost:0', coordinator, partitions });
      this.#sites.set(name, {
        name,
        folder,
        configFile: join(folder, 'agent.yaml'),
        token,
        serial: '',
        agent: undefined,
      });
    }
    this.#coordinator = new DemoProcess({
      args: ['coordinator', 'run', '--config', join(this.#root, 'coordinator', 'coordinator.yaml')],
      logFile: join(this.#root, 'coordinator.log'),
    });
    this.#story.detail(`PostgreSQL, Redis, mutual TLS and everything else live in ${this.#root}, on loopback`);
  }

  async #createGroup(operator: Operator): Promise<void> {
    const identities: string[] = [];
    for (const site of this.#sites.values()) {
      const config = loadAgentConfig(site.configFile);
      for (const { name, role } of config.partitions) {
        const { serial, identitySha256 } = await initialisePartition({ config, name, log: silentLog });
        identities.push(identitySha256);
        if (role === 'member') site.serial = serial;
        else this.#scratchSerial = serial;
        this.#story.detail(
          `site ${site.name}, partition ${name}: serial ${serial}, identity ${identitySha256.slice(0, 16)}...`,
        );
      }
    }
    for (const site of this.#sites.values())
      pinIdentities({ config: loadAgentConfig(site.configFile), group: GROUP, identities });
    for (const site of this.#sites.values()) this.#startAgent(site);
    await this.#until(
      'all three agents are heard',
      async () => (await operator.getStatus({})).sites.filter(({ state }) => state === 'up').length === SITES.length,
    );
    const { operationId } = await operator.createGroup({
      spec: {
        name: GROUP,
        members: SITES.map((name) => ({ site: name, serial: this.#site(name).serial })),
        scratch: [{ site: 'c', serial: this.#scratchSerial }],
        failoverPolicy: FailoverPolicy.AUTOMATIC,
      },
    });
    await follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    this.#story.detail(`group ${GROUP}: a is active, b and c stand by, automatic failover, three sites vote`);
  }

  #makeKeys(): string {
    const { token, folder } = this.#site('a');
    const secret = ['--sensitive', '--extractable'];
    token.tool(
      '--keypairgen',
      '--key-type',
      'rsa:2048',
      '--id',
      '01',
      '--label',
      'card signing',
      '--usage-sign',
      '--usage-decrypt',
      '--extractable',
    );
    token.tool(
      '--keypairgen',
      '--key-type',
      'EC:prime256v1',
      '--id',
      '02',
      '--label',
      'root of trust',
      '--usage-sign',
      '--extractable',
    );
    token.tool('--keygen', '--key-type', 'aes:32', '--id', '03', '--label', 'zone master', ...secret);
    token.tool('--keygen', '--key-type', 'GENERIC:32', '--id', '04', '--label', 'audit mac', ...secret);
    const [key, certificate] = [join(folder, 'demo.key'), join(folder, 'demo.der')];
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      key,
      '-out',
      certificate,
      '-outform',
      'DER',
      '-subj',
      '/CN=demo',
      '-days',
      '30',
    );
    token.tool('--write-object', certificate, '--type', 'cert', '--id', '05', '--label', 'demo certificate');
    token.tool('--keypairgen', '--key-type', 'rsa:2048', '--id', '06', '--label', 'made to stay', '--usage-sign');
    const publicKeyFile = join(this.#root, 'root-of-trust.der');
    writeFileSync(publicKeyFile, token.tool('--read-object', '--type', 'pubkey', '--id', '02'));
    this.#story.detail(
      'RSA-2048, EC P-256, AES-256, a generic secret, a certificate, and an RSA key that may not leave its token',
    );
    this.#story.detail(`the public half of the EC key is exported with pkcs11-tool, for openssl to judge later`);
    return publicKeyFile;
  }

  async #replicate(operator: Operator, sites: readonly SiteName[]) {
    const round = await replicateOnce(operator, GROUP, { timeoutMs: TIMEOUT_MS, sites });
    const state = round.state;
    const uncaptured = (state.newest?.uncaptured ?? []).map(({ objectId, reason }) => ({ id: objectId, reason }));
    const acknowledgedBy = state.members
      .filter(
        ({ site, acknowledgedGeneration }) =>
          site !== state.activeSite && Number(acknowledgedGeneration) >= round.generation,
      )
      .map(({ site }) => site);
    const { operations } = await operator.getStatus({});
    const moved = operations
      .filter((operation) => operation.kind === 'replication' && isOf(operation, round.generation))
      .map((operation) => Number(resultOf(operation)['appliedObjects'] ?? 0));
    this.#story.detail(
      `generation ${round.generation}: ${state.newest?.objectCount ?? 0} objects, acknowledged by ${acknowledgedBy.join(' and ')}`,
    );
    for (const { site } of state.members) {
      const own = operations.find(
        (operation) => operation.kind === 'replication' && operation.site === site && isOf(operation, round.generation),
      );
      if (own !== undefined)
        this.#story.detail(
          `site ${site}: ${String(resultOf(own)['appliedObjects'])} objects restored, ${String(resultOf(own)['proved'])} proved by use`,
        );
    }
    for (const { id, reason } of uncaptured)
      this.#story.detail(`NOT captured: object ${id.slice(0, 8)}..., ${reason}; the group is only ${state.protection}`);
    return {
      generation: round.generation,
      objects: state.newest?.objectCount ?? 0,
      uncaptured,
      acknowledgedBy,
      moved: Math.max(0, ...moved),
    };
  }

  async #drill(operator: Operator): Promise<{ proved: number; failed: number }> {
    const { operationId } = await operator.runDrill({ group: GROUP, site: 'c' });
    await follow(operator, operationId, { timeoutMs: TIMEOUT_MS });
    const { drills } = await operator.listDrills({ group: GROUP });
    const drill = drills.find(({ id }) => id === operationId);
    const proof = { proved: drill?.proof?.proved ?? 0, failed: drill?.proof?.failed ?? 0 };
    this.#story.detail(
      `generation ${drill?.generation}: ${proof.proved} objects proved, ${proof.failed} failed, recovery time ${duration(drill?.recoveryTimeMs)}`,
    );
    this.#story.detail('the evidence is signed by the scratch partition itself');
    return proof;
  }

  async #loseSiteA(operator: Operator): Promise<{ to: string; epoch: number; recoveryTimeMs: number; proved: number }> {
    const lostAtMs = performance.now();
    await this.#site('a').agent?.killAll();
    this.#story.detail('no order is given to anybody from here on');
    const place = await this.#until('another site is active', async () => {
      const answer = await operator.resolve({ group: GROUP });
      return answer.site === 'a' ? undefined : answer;
    });
    const measuredMs = Math.round(performance.now() - lostAtMs);
    const { operations } = await operator.getStatus({});
    const failover = resultOf(operations.find(({ kind }) => kind === 'failover'));
    this.#story.detail(
      `site ${place.site} is active in epoch ${place.epoch}, ${duration(measuredMs)} after the kill; ${String(failover['proved'])} objects proved there before it was`,
    );
    this.#story.detail(`resolve: ${place.module}, token ${place.tokenLabel}, serial ${place.serial}`);
    return {
      to: place.site,
      epoch: Number(place.epoch),
      recoveryTimeMs: measuredMs,
      proved: Number(failover['proved'] ?? 0),
    };
  }

  async #signAtB(operator: Operator, publicKeyFile: string): Promise<boolean> {
    const { site } = await operator.resolve({ group: GROUP });
    const { token } = this.#site(site as SiteName);
    const [message, digest, signature, pem] = ['message', 'digest', 'signature', 'public.pem'].map((name) =>
      join(this.#root, name),
    ) as [string, string, string, string];
    writeFileSync(message, 'pay 100 to bob\n');
    openssl('dgst', '-sha256', '-binary', '-out', digest, message);
    token.tool(
      '--sign',
      '--id',
      '02',
      '--mechanism',
      'ECDSA',
      '--signature-format',
      'openssl',
      '--input-file',
      digest,
      '--output-file',
      signature,
    );
    openssl('pkey', '-pubin', '-inform', 'DER', '-in', publicKeyFile, '-out', pem);
    const said = openssl('dgst', '-sha256', '-verify', pem, '-signature', signature, message).toString().trim();
    this.#story.detail(`openssl, with the public key exported at a before the loss: ${said}`);
    return said === 'Verified OK';
  }

  async #rejoin(operator: Operator, generation: number): Promise<boolean> {
    this.#startAgent(this.#site('a'));
    const state = await this.#until('site a has caught up', async () => {
      const group = await this.#group(operator);
      const a = group.members.find(({ site }) => site === 'a');
      return Number(a?.acknowledgedGeneration ?? 0) >= generation ? group : undefined;
    });
    const newest = state.members.find(({ site }) => site === 'a');
    this.#story.detail(
      `site a acknowledges generation ${newest?.acknowledgedGeneration}, with the key made at b; ${newest?.divergentObjects ?? 0} divergent objects`,
    );
    return state.activeSite !== 'a';
  }

  // --- helpers ---

  #partition(name: string, token: DemoToken, role: PartitionDraft['role']): PartitionDraft {
    return {
      name,
      module: softhsmModule(),
      tokenLabel: token.label,
      pinFile: token.pinFile,
      role,
      environment: token.environment,
    };
  }

  #startAgent(site: DemoSite): void {
    site.agent = new DemoProcess({
      args: ['agent', 'run', '--config', site.configFile],
      logFile: join(this.#root, `site-${site.name}.log`),
    });
  }

  #site(name: SiteName): DemoSite {
    return this.#sites.get(name)!;
  }

  async #group(operator: Operator): Promise<GroupState> {
    const { group } = await operator.getGroup({ group: GROUP });
    return group!;
  }

  /** Asks until there is an answer; a coordinator that is still starting is no failure. */
  async #until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
    const endMs = performance.now() + TIMEOUT_MS;
    let last: unknown;
    while (performance.now() < endMs) {
      try {
        const answer = await ask();
        if (answer) return answer;
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition !== 'retry') throw thrown;
        last = thrown;
      }
      if (this.#coordinator?.hasEnded)
        throw new AntipodeError(
          'PROGRAM_MISSING',
          `the coordinator has ended; see ${join(this.#root, 'coordinator.log')} (--keep)`,
          { details: { program: 'coordinator' } },
        );
      await systemClock.sleep(POLL_MS);
    }
    throw new AntipodeError('TIMED_OUT', `waited ${TIMEOUT_MS / 1_000} s until ${what}`, {
      details: { what },
      cause: last,
    });
  }
}

function resultOf(operation: Operation | undefined): Record<string, unknown> {
  return operation === undefined ? {} : (JSON.parse(operation.result) as Record<string, unknown>);
}

const isOf = (operation: Operation, generation: number): boolean => resultOf(operation)['number'] === generation;
