/** Looks who is there, issues an epoch, waits out the old lease, promotes, publishes. */
import { MemberRole, type MemberState } from '@antipode/protocol';
import { AntipodeError, fromHex, hex } from '@antipode/runtime';
import { type Candidate, type FailoverEffect, type FailoverEvent, isAhead, type Survey } from '../machines/failover.ts';
import type { Group } from '../model.ts';
import { readGeneration, readKnown } from '../store/generations.ts';
import { activateEpoch, insertEpoch } from '../store/groups.ts';
import type { Intent } from '../store/intents.ts';
import { captureActive } from './capture.ts';
import { type EffectContext, ORDER_TIMEOUT_MS, roleFrom, WORK_TIMEOUT_MS } from './context.ts';
import { acknowledge, applyAt, verifyAt } from './replication.ts';

type Effect<Type extends FailoverEffect['type']> = Extract<FailoverEffect, { type: Type }>;

export async function failover(context: EffectContext, intent: Intent, effect: FailoverEffect): Promise<FailoverEvent> {
  const group = await context.group(intent);
  switch (effect.type) {
    case 'survey':
      return { type: 'surveyed', survey: await survey(context, group) };
    case 'catch-up':
      return catchUp(context, intent, group, effect);
    case 'issue-epoch':
      return issueEpoch(context, intent, group, effect);
    case 'await-fence':
      return awaitFence(context, group);
    case 'promote':
      return promote(context, intent, group, effect);
    case 'publish':
      return publish(context, group, effect);
  }
}

/** What can be reached now, and what it has. A member that answers oddly counts as one that does not answer. */
export async function survey({ ports }: EffectContext, group: Group): Promise<Survey> {
  const { agents, store, timings } = ports;
  const name = group.spec.name;
  const known = await store.query((db) => readKnown(db, name));
  const answers = await Promise.all(
    group.members.map(async ({ site, serial }): Promise<Candidate | undefined> => {
      try {
        const { members, partitions } = await agents
          .client(site)
          .describe({}, { timeoutMs: timings.probeTimeoutMs * 2 });
        const seat = members.find((one) => one.group === name);
        const partition = partitions.find((one) => one.serial === serial);
        return {
          site,
          serial,
          role: seat === undefined ? 'fenced' : roleFrom(seat.role),
          epoch: seat?.epoch ?? 0n,
          applied: await heldBy(seat, known, (one) => store.query((db) => readGeneration(db, name, one))),
          problem: partition === undefined ? 'PARTITION_NOT_FOUND' : partition.errorCode,
        };
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        return undefined;
      }
    }),
  );
  return {
    reachable: answers.filter((one) => one !== undefined),
    voters: group.members.length,
    highestEpoch: group.highestEpoch,
    known,
  };
}

/** The newest generation that a member has applied or captured. What the database does not know counts for nothing. */
async function heldBy(
  seat: MemberState | undefined,
  known: Awaited<ReturnType<typeof readKnown>>,
  readOlder: (one: { epoch: bigint; number: bigint }) => Promise<{ manifestDigest: string } | undefined>,
): Promise<Candidate['applied']> {
  let best: Candidate['applied'];
  for (const ref of [seat?.applied, seat?.captured]) {
    if (ref === undefined) continue;
    const one = { epoch: ref.epoch, number: ref.generation, manifestDigest: hex(ref.manifestDigest) };
    const isSame = ({ epoch, number }: { epoch: bigint; number: bigint }): boolean =>
      epoch === one.epoch && number === one.number;
    const onRecord = known.find(isSame) ?? (await readOlder(one));
    if (onRecord?.manifestDigest === one.manifestDigest && isAhead(one, best)) best = one;
  }
  return best;
}

/** Everything captured, at the target, read back, every key used: only then may the active member stop. */
async function catchUp(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { from, to }: Effect<'catch-up'>,
): Promise<FailoverEvent> {
  // The last look must be of now: neither a capture under way nor one whose answer was lost will do.
  const now = {
    ...intent,
    requestId: `${intent.requestId}.${context.ports.election.require()}.${intent.attempts}`,
  };
  const { generation, contentDigest, proof } = await unlessLost(context, [from, to], async () => {
    const captured = await captureActive(context, now, group);
    const target = { site: to, generation: captured.generation };
    await applyAt(context, now, group, target);
    return { ...captured, ...(await verifyAt(context, now, group, { ...target, everything: true })) };
  });
  if (proof.failed > 0 || contentDigest !== generation.contentDigest) {
    const code = proof.failed > 0 ? 'OBJECT_UNPROVEN' : 'DIGEST_MISMATCH';
    throw new AntipodeError(code, `site ${to} does not prove generation ${generation.number}; nothing was changed`, {
      details: { group: group.spec.name, site: to, failed: proof.failed },
    });
  }
  await acknowledge(context, group, { site: to, generation });
  const { epoch, number, manifestDigest } = generation;
  return { type: 'caught-up', generation: { epoch, number, manifestDigest }, startedMs: context.ports.clock.wallMs() };
}

/** A site that goes silent in the middle of a planned move is for a person to look at; nothing was changed yet. */
async function unlessLost<T>({ ports }: EffectContext, sites: readonly string[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const lost = sites.filter((site) => !ports.detector.isUp(site));
    if (lost.length === 0 || AntipodeError.from(cause).disposition !== 'retry') throw cause;
    throw new AntipodeError(
      'FAILOVER_REFUSED',
      `site ${lost.join(', ')} was lost while the target caught up; nothing was changed`,
      {
        details: { sites: lost.join(',') },
        cause,
      },
    );
  }
}

async function issueEpoch(
  context: EffectContext,
  intent: Intent,
  group: Group,
  effect: Effect<'issue-epoch'>,
): Promise<FailoverEvent> {
  const { clock, leases, timings, cache } = context.ports;
  const name = group.spec.name;
  const { epoch, from, to, reason } = effect;
  if (group.highestEpoch !== epoch || group.highestOwner !== to) {
    await context.write(async (trx, record) => {
      await insertEpoch(trx, name, { epoch, owner: to, reason, isActive: false, nowMs: clock.wallMs() });
      record({ kind: 'epoch-issued', group: name, site: to, details: { epoch, from } });
    });
  }
  // From here on no heartbeat renews the old lease.
  await cache.refresh();
  const fence = { group: name, epoch, owner: to, requestId: intent.requestId };
  const persisted = await Promise.all(
    group.members.map(async ({ site, serial }) => {
      const role = site === from && site !== to ? MemberRole.FENCED : MemberRole.STANDBY;
      const timeoutMs = site === from ? timings.probeTimeoutMs : ORDER_TIMEOUT_MS;
      try {
        await context.agent(site).setRole({ fence, serial, role }, { timeoutMs });
        return site;
      } catch (thrown) {
        // Whoever cannot be spoken to has not persisted it. One that knows better ends the attempt.
        const error = AntipodeError.from(thrown);
        if (endsTheAttempt(error)) throw error;
        return undefined;
      }
    }),
  );
  const confirmed = persisted.filter((site) => site !== undefined);
  if (!confirmed.includes(to)) return targetLost(context, to, 'SITE_UNREACHABLE');
  if (confirmed.length < effect.quorum) {
    throw new AntipodeError(
      'SITE_UNREACHABLE',
      `epoch ${epoch} is persisted by ${confirmed.length} of ${group.members.length} sites, and needs ${effect.quorum}`,
      { details: { group: name, epoch } },
    );
  }
  const isOldActiveFenced = confirmed.includes(from);
  if (isOldActiveFenced) leases.ended(name);
  return { type: 'issued', isOldActiveFenced };
}

/** An agent that knows better: the epoch is not ours to issue. */
function endsTheAttempt({ code, disposition }: AntipodeError): boolean {
  return disposition === 'defect' || code === 'EPOCH_STALE' || code === 'EPOCH_CONFLICT';
}

async function awaitFence({ ports }: EffectContext, group: Group): Promise<FailoverEvent> {
  const { leases, clock } = ports;
  const name = group.spec.name;
  for (let leftMs = leases.remainingMs(name); leftMs > 0; leftMs = leases.remainingMs(name))
    await clock.sleep(Math.ceil(leftMs));
  return { type: 'fenced' };
}

async function promote(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { epoch, to, generation }: Effect<'promote'>,
): Promise<FailoverEvent> {
  const fence = { group: group.spec.name, epoch, owner: to, requestId: intent.requestId };
  const ref = generation && {
    epoch: generation.epoch,
    generation: generation.number,
    manifestDigest: fromHex(generation.manifestDigest),
  };
  try {
    const { proof } = await context
      .agent(to)
      .promote({ fence, ...(ref === undefined ? {} : { generation: ref }) }, { timeoutMs: WORK_TIMEOUT_MS });
    return { type: 'promoted', proved: proof?.proved ?? 0 };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if (endsTheAttempt(error)) throw error;
    // Its outcome may be unknown. That does no harm: without a lease, and under an epoch that another one follows, a
    // promoted member acts for nobody.
    if (error.disposition === 'retry') return targetLost(context, to, error.code, error);
    return { type: 'target-lost', code: error.code };
  }
}

/** A target that is merely slow is tried again; one that does not call either is given up. */
function targetLost({ ports }: EffectContext, to: string, code: string, error?: AntipodeError): FailoverEvent {
  if (!ports.detector.isUp(to)) return { type: 'target-lost', code };
  throw error ?? new AntipodeError('SITE_UNREACHABLE', `site ${to} does not take the order`, { details: { site: to } });
}

async function publish(
  context: EffectContext,
  group: Group,
  { epoch, from, to, lost, outageStartedMs }: Effect<'publish'>,
): Promise<FailoverEvent> {
  const name = group.spec.name;
  const recoveryTimeMs = Math.max(0, context.ports.clock.wallMs() - outageStartedMs);
  await context.write(async (trx, record) => {
    await activateEpoch(trx, name, { epoch, owner: to, recoveryTimeMs });
    record({
      kind: 'failover-complete',
      group: name,
      site: to,
      details: { epoch, from, lost: lost.length, recoveryTimeMs },
    });
  });
  await context.ports.cache.refresh();
  return { type: 'published', recoveryTimeMs };
}
