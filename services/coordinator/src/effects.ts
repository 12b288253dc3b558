/**
 * Performs what the machines ask for: orders to agents, writes to the database. Every effect may be repeated, since a
 * crash can fall between its end and the record of it (I9). Transient faults are thrown and retried by the runner; what
 * does not heal by itself becomes a `failed` event.
 */
import type { GenerationRef, MemberState, ProofSummary } from '@antipode/protocol';
import { MemberRole } from '@antipode/protocol';
import { AntipodeError, type Clock, currentTrace, fromHex, hex } from '@antipode/runtime';
import type { Agents } from './agents.ts';
import type { Detector } from './detector.ts';
import type { Election } from './election.ts';
import type { GroupCache } from './group-cache.ts';
import type { LeaseBook } from './leases.ts';
import type { CaptureEvent } from './machines/capture.ts';
import type { DrillEffect, DrillEvent } from './machines/drill.ts';
import type { EnrolmentEffect, EnrolmentEvent } from './machines/enrolment.ts';
import type { Candidate, FailoverEffect, FailoverEvent, Survey } from './machines/failover.ts';
import type { RejoinEvent } from './machines/rejoin.ts';
import type { ReplicationEffect, ReplicationEvent } from './machines/replication.ts';
import { activeOf, type Generation, type Group, type Proof, type Role } from './model.ts';
import { recordDrill } from './store/drills.ts';
import { readAcknowledged, readGeneration, recordAcknowledgement, recordCapture } from './store/generations.ts';
import {
  activateEpoch,
  insertEpoch,
  orderVersion,
  readGroup,
  setDivergent,
  setRole,
  useVersion,
} from './store/groups.ts';
import type { Intent } from './store/intents.ts';
import type { Store } from './store/store.ts';
import type { Timings } from './timings.ts';

/** A 10,000-key generation on a slow token takes minutes; a lost link is noticed by keepalive long before. */
const WORK_TIMEOUT_MS = 30 * 60_000;
const ORDER_TIMEOUT_MS = 5_000;

export interface EffectsPorts {
  readonly store: Store;
  readonly election: Election;
  readonly agents: Agents;
  readonly detector: Detector;
  readonly leases: LeaseBook;
  readonly cache: GroupCache;
  readonly clock: Clock;
  readonly timings: Timings;
}

export class Effects {
  readonly #ports: EffectsPorts;

  constructor(ports: EffectsPorts) {
    this.#ports = ports;
  }

  async enrolment(intent: Intent, effect: EnrolmentEffect): Promise<EnrolmentEvent> {
    const group = await this.#group(intent);
    switch (effect.type) {
      case 'seat-members':
        await Promise.all(
          group.members.map(({ site, serial, role }) => {
            // Only the first active member is seated by order; later ones are promoted.
            if (role === 'active' && group.epoch > 1n) return undefined;
            return this.#ports.agents
              .client(site)
              .setRole(
                { fence: fenceOf(group, intent.id), serial, role: ROLES[role] },
                { timeoutMs: ORDER_TIMEOUT_MS },
              );
          }),
        );
        return { type: 'seated' };
      case 'order-version': {
        const version = group.highestVersion + 1;
        await this.#write((trx) => orderVersion(trx, group.spec.name, version));
        return { type: 'version-ordered', version };
      }
      case 'distribute': {
        const active = requireActive(group);
        const { failures } = await this.#ports.agents.client(active.site).distributeDomainKey(
          {
            fence: fenceOf(group, intent.id),
            version: effect.version,
            members: [...group.members, ...group.spec.scratch].map(({ site, serial }) => ({
              site: this.#ports.agents.address(site),
              serial,
            })),
          },
          { timeoutMs: WORK_TIMEOUT_MS },
        );
        if (failures.length === 0) {
          await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
            await useVersion(trx, group.spec.name, effect.version);
            record({ kind: 'domain-key-in-use', group: group.spec.name, details: { version: effect.version } });
          });
          await this.#ports.cache.refresh();
        }
        return {
          type: 'distributed',
          failures: failures.map(({ serial, code, message }) => ({ serial, code, message })),
        };
      }
    }
  }

  async capture(intent: Intent): Promise<CaptureEvent> {
    const group = await this.#group(intent);
    const name = group.spec.name;
    const active = requireActive(group);
    const { excludeIds, excludeLabels, excludeClasses } = group.spec.filter;
    const answer = await this.#ports.agents.client(active.site).capture(
      {
        fence: fenceOf(group, intent.id),
        domainKeyVersion: group.domainKeyVersion,
        filter: { excludeIds: [...excludeIds], excludeLabels: [...excludeLabels], excludeClasses: [...excludeClasses] },
      },
      { timeoutMs: WORK_TIMEOUT_MS },
    );
    const generation = generationFrom(requireRef(answer.generation), Number(answer.captureStartedMs));
    await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
      await recordCapture(trx, name, generation);
      if (answer.isNew)
        record({
          kind: 'generation-captured',
          group: name,
          site: active.site,
          details: {
            epoch: generation.epoch,
            number: generation.number,
            objects: generation.objectCount,
            uncaptured: generation.uncaptured.length,
          },
        });
    });
    return { type: 'captured', generation, isNew: answer.isNew, sealedObjects: answer.sealedObjects };
  }

  async replication(intent: Intent, effect: ReplicationEffect): Promise<ReplicationEvent> {
    const group = await this.#group(intent);
    const name = group.spec.name;
    const agent = (): ReturnType<Agents['client']> => this.#ports.agents.client(intent.site);
    const generation = await this.#ports.store.query((db) => readGeneration(db, name, effect));
    if (generation === undefined)
      throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not in the database', {
        details: { group: name, number: effect.number },
      });
    const order = { fence: fenceOf(group, intent.id), generation: refOf(generation) };
    switch (effect.type) {
      case 'apply': {
        const holders = await this.#holders(group, intent.site);
        const { appliedObjects, pulledBlobs } = await agent().apply(
          { ...order, sources: holders },
          { timeoutMs: WORK_TIMEOUT_MS },
        );
        return { type: 'applied', appliedObjects, pulledBlobs };
      }
      case 'verify': {
        const { contentDigest, proof } = await agent().verify(
          { ...order, everything: false },
          { timeoutMs: WORK_TIMEOUT_MS },
        );
        return { type: 'verified', contentDigest: hex(contentDigest), proof: proofFrom(proof) };
      }
      case 'acknowledge': {
        const divergent = this.#memberState(intent.site, name)?.divergentObjects ?? 0;
        await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
          await recordAcknowledgement(trx, name, { ...effect, site: intent.site, nowMs: this.#ports.clock.wallMs() });
          await setDivergent(trx, name, intent.site, divergent);
          record({
            kind: 'generation-acknowledged',
            group: name,
            site: intent.site,
            details: { epoch: effect.epoch, number: effect.number },
          });
        });
        return { type: 'acknowledged' };
      }
    }
  }

  async drill(intent: Intent, effect: DrillEffect): Promise<DrillEvent> {
    const group = await this.#group(intent);
    const name = group.spec.name;
    if (effect.type === 'record-drill') {
      const { outcome, code, number } = effect;
      await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
        await recordDrill(trx, {
          id: intent.id,
          group: name,
          site: intent.site,
          number,
          passed: code === '',
          proof: outcome?.proof ?? { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0 },
          errorCode: code,
          startedMs: outcome?.startedMs ?? intent.createdMs,
          recoveryTimeMs: outcome?.recoveryTimeMs ?? 0,
          evidence: outcome?.evidence ?? '',
          signature: Buffer.from(outcome?.signature ?? '', 'base64'),
          signer: Buffer.from(outcome?.signer ?? '', 'base64'),
        });
        record({
          kind: code === '' ? 'drill-passed' : 'drill-failed',
          group: name,
          site: intent.site,
          details: { drill: intent.id, number, code },
        });
      });
      return { type: 'recorded' };
    }
    const generation = await this.#ports.store.query((db) => readGeneration(db, name, effect));
    if (generation === undefined)
      throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not in the database', {
        details: { group: name, number: effect.number },
      });
    const startedMs = this.#ports.clock.wallMs();
    const fromMs = this.#ports.clock.monotonicMs();
    const answer = await this.#ports.agents.client(intent.site).drill(
      {
        fence: fenceOf(group, intent.id),
        drillId: intent.id,
        generation: refOf(generation),
        scratchSerial: effect.serial,
        sources: group.members.map(({ site }) => this.#ports.agents.address(site)),
      },
      { timeoutMs: WORK_TIMEOUT_MS },
    );
    return {
      type: 'rehearsed',
      outcome: {
        proof: proofFrom(answer.proof),
        isClean: answer.isClean,
        startedMs,
        // Cleaning up is no part of a real restore.
        recoveryTimeMs: Math.round(this.#ports.clock.monotonicMs() - fromMs - (answer.times?.cleanMs ?? 0)),
        evidence: answer.evidence,
        signature: Buffer.from(answer.signature).toString('base64'),
        signer: Buffer.from(answer.signer).toString('base64'),
      },
    };
  }

  async rejoin(intent: Intent): Promise<RejoinEvent> {
    const group = await this.#group(intent);
    const name = group.spec.name;
    const member = group.members.find(({ site }) => site === intent.site);
    if (member === undefined)
      throw new AntipodeError('NOT_FOUND', `site ${intent.site} has no seat in group ${name}`, {
        details: { group: name, site: intent.site },
      });
    await this.#ports.agents
      .client(intent.site)
      .setRole(
        { fence: fenceOf(group, intent.id), serial: member.serial, role: MemberRole.STANDBY },
        { timeoutMs: ORDER_TIMEOUT_MS },
      );
    await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
      await setRole(trx, name, intent.site, 'standby');
      record({ kind: 'member-rejoined', group: name, site: intent.site, details: { epoch: group.epoch } });
    });
    await this.#ports.cache.refresh();
    return { type: 'rejoined' };
  }

  async failover(intent: Intent, effect: FailoverEffect): Promise<FailoverEvent> {
    const group = await this.#group(intent);
    const name = group.spec.name;
    const { agents, clock, leases, timings } = this.#ports;
    switch (effect.type) {
      case 'survey':
        return { type: 'surveyed', survey: await this.survey(group) };
      case 'issue-epoch': {
        const isIssued = group.highestEpoch === effect.epoch && group.highestOwner === effect.to;
        if (!isIssued) {
          await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
            await insertEpoch(trx, name, {
              epoch: effect.epoch,
              owner: effect.to,
              reason: effect.reason,
              isActive: false,
              nowMs: clock.wallMs(),
            });
            record({
              kind: 'epoch-issued',
              group: name,
              site: effect.to,
              details: { epoch: effect.epoch, from: effect.from },
            });
          });
        }
        // From here on no heartbeat renews the old lease.
        await this.#ports.cache.refresh();
        const fence = { group: name, epoch: effect.epoch, owner: effect.to, requestId: intent.id };
        const persisted = await Promise.all(
          group.members.map(async ({ site, serial }) => {
            const role = site === effect.from ? MemberRole.FENCED : MemberRole.STANDBY;
            try {
              await agents
                .client(site)
                .setRole(
                  { fence, serial, role },
                  { timeoutMs: site === effect.from ? timings.probeTimeoutMs : ORDER_TIMEOUT_MS },
                );
              return site;
            } catch (thrown) {
              const error = AntipodeError.from(thrown);
              if (error.disposition === 'retry') return undefined;
              throw error;
            }
          }),
        );
        const confirmed = persisted.filter((site) => site !== undefined);
        if (confirmed.length * 2 <= group.members.length || !confirmed.includes(effect.to)) {
          throw new AntipodeError(
            'SITE_UNREACHABLE',
            `epoch ${effect.epoch} is persisted by ${confirmed.length} of ${group.members.length} sites, and needs a majority with ${effect.to}`,
            { details: { group: name, epoch: effect.epoch } },
          );
        }
        const isOldActiveFenced = confirmed.includes(effect.from);
        if (isOldActiveFenced) leases.ended(name);
        return { type: 'issued', isOldActiveFenced };
      }
      case 'await-fence':
        await clock.sleep(leases.remainingMs(name));
        if (leases.remainingMs(name) > 0)
          throw new AntipodeError('GROUP_BUSY', 'a lease of the old active member was renewed meanwhile', {
            details: { group: name },
          });
        return { type: 'fenced' };
      case 'promote': {
        try {
          const { proof } = await agents.client(effect.to).promote(
            {
              fence: { group: name, epoch: effect.epoch, owner: effect.to, requestId: intent.id },
              ...(effect.generation === undefined
                ? {}
                : {
                    generation: {
                      epoch: effect.generation.epoch,
                      generation: effect.generation.number,
                      manifestDigest: fromHex(effect.generation.manifestDigest),
                    },
                  }),
              leaseMs: BigInt(timings.leaseMs),
            },
            { timeoutMs: WORK_TIMEOUT_MS },
          );
          return { type: 'promoted', proved: proof?.proved ?? 0 };
        } finally {
          // The agent counts from when it got the order; whatever became of it, it may hold a lease until then.
          leases.granted(name);
        }
      }
      case 'publish': {
        const recoveryTimeMs = clock.wallMs() - effect.outageStartedMs;
        await this.#ports.store.write(this.#ports.election.require(), async (trx, record) => {
          await activateEpoch(trx, name, { epoch: effect.epoch, owner: effect.to, recoveryTimeMs });
          record({
            kind: 'failover-complete',
            group: name,
            site: effect.to,
            details: { epoch: effect.epoch, from: effect.from, lost: effect.lost.length, recoveryTimeMs },
          });
        });
        await this.#ports.cache.refresh();
        return { type: 'published', recoveryTimeMs };
      }
    }
  }

  /** What can be reached now, and what it has. */
  async survey(group: Group): Promise<Survey> {
    const { agents, store, timings } = this.#ports;
    const name = group.spec.name;
    const answers = await Promise.all(
      group.members.map(async ({ site, serial }): Promise<Candidate | undefined> => {
        try {
          const { members } = await agents.client(site).describe({}, { timeoutMs: timings.probeTimeoutMs * 2 });
          const seat = members.find((one) => one.group === name);
          const newest = seat?.applied;
          return {
            site,
            serial,
            role: seat === undefined ? 'fenced' : roleFrom(seat.role),
            epoch: seat?.epoch ?? 0n,
            applied:
              newest === undefined
                ? undefined
                : { epoch: newest.epoch, number: newest.generation, manifestDigest: hex(newest.manifestDigest) },
          };
        } catch (thrown) {
          if (AntipodeError.from(thrown).disposition === 'retry') return undefined;
          throw thrown;
        }
      }),
    );
    const known = await store.query((db) =>
      db
        .selectFrom('generation')
        .select(['epoch', 'number'])
        .where('grp', '=', name)
        .orderBy('epoch')
        .orderBy('number')
        .execute(),
    );
    return {
      reachable: answers.filter((one) => one !== undefined),
      voters: group.members.length,
      highestEpoch: group.highestEpoch,
      known,
    };
  }

  /** Members that hold generations, the active one first, then who has acknowledged most. */
  async #holders(group: Group, except: string): Promise<{ site: string; address: string }[]> {
    const acknowledged = await this.#ports.store.query((db) => readAcknowledged(db, group.spec.name));
    const active = activeOf(group);
    const sites = [
      ...(active === undefined ? [] : [active.site]),
      ...acknowledged.map(({ site }) => site),
      ...group.members.map(({ site }) => site),
    ];
    const isLikelyUp = (site: string): boolean => this.#ports.detector.view(site)?.status !== 'down';
    return [...new Set(sites)]
      .filter((site) => site !== except && isLikelyUp(site))
      .map((site) => this.#ports.agents.address(site));
  }

  #memberState(site: string, group: string): MemberState | undefined {
    return this.#ports.detector.view(site)?.state?.members.find((one) => one.group === group);
  }

  #group(intent: Intent): Promise<Group> {
    return this.#ports.store.query((db) => readGroup(db, intent.group));
  }

  #write(work: Parameters<Store['write']>[1]): Promise<unknown> {
    return this.#ports.store.write(this.#ports.election.require(), work);
  }
}

const ROLES: Record<Role, MemberRole> = {
  active: MemberRole.ACTIVE,
  standby: MemberRole.STANDBY,
  fenced: MemberRole.FENCED,
};
const roleFrom = (role: MemberRole): Role =>
  role === MemberRole.ACTIVE ? 'active' : role === MemberRole.STANDBY ? 'standby' : 'fenced';

/** Orders under the epoch in force. */
function fenceOf(group: Group, requestId: string) {
  return { group: group.spec.name, epoch: group.epoch, owner: group.owner, requestId };
}

function requireActive(group: Group) {
  const active = activeOf(group);
  if (active === undefined)
    throw new AntipodeError('ROLE_REFUSED', `group ${group.spec.name} has no active member`, {
      details: { group: group.spec.name },
    });
  return active;
}

function requireRef(ref: GenerationRef | undefined): GenerationRef {
  if (ref === undefined)
    throw new AntipodeError('REQUEST_INVALID', 'the agent gave no generation', { details: { field: 'generation' } });
  return ref;
}

export function generationFrom(ref: GenerationRef, recoveryPointMs: number): Generation {
  return {
    epoch: ref.epoch,
    number: ref.generation,
    manifestDigest: hex(ref.manifestDigest),
    contentDigest: hex(ref.contentDigest),
    objectCount: ref.objectCount,
    domainKeyVersion: ref.domainKeyVersion,
    uncaptured: ref.uncaptured.map(({ objectId, kind, reason }) => ({ objectId, kind, reason })),
    recoveryPointMs,
    trace: currentTrace(),
  };
}

export function refOf(generation: Generation) {
  return {
    epoch: generation.epoch,
    generation: generation.number,
    manifestDigest: fromHex(generation.manifestDigest),
    contentDigest: fromHex(generation.contentDigest),
    captureStartedMs: BigInt(generation.recoveryPointMs),
    objectCount: generation.objectCount,
    domainKeyVersion: generation.domainKeyVersion,
    uncaptured: generation.uncaptured.map((object) => ({ ...object })),
  };
}

function proofFrom(proof: ProofSummary | undefined): Proof {
  return {
    proved: proof?.proved ?? 0,
    failed: proof?.failed ?? 0,
    failedObjectIds: [...(proof?.failedObjectIds ?? [])],
    usesNotExercised: proof?.usesNotExercised ?? 0,
  };
}
