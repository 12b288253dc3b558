/** Brings to the target of a failover what it lacks: before the epoch is issued, while service goes on; or right after. */
import { AntipodeError, hasCode } from '@antipode/runtime';
import { agoMs } from '../../calendar/timeline.ts';
import { activeOf, type Generation, type Group, type Proof } from '../../model.ts';
import { isSilent } from '../../sites/expected.ts';
import { readGeneration, readNewest } from '../../store/tables/generations.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { captureActive } from '../capture/effects.ts';
import type { EffectContext } from '../context.ts';
import { unlessHung, whileUsable } from '../hung-hsm.ts';
import { acknowledge, applyAt, verifyAt, withdraw } from '../replication/effects.ts';
import { inTime, requireInTime } from './deadline.ts';
import { endsTheAttempt } from './issue-epoch.ts';
import type { FailoverEffect, FailoverEvent } from './machine.ts';
import { type Handover, mayLeave, wouldLeave } from './plan.ts';

type Effect<Type extends FailoverEffect['type']> = Extract<FailoverEffect, { type: Type }>;

/** Some seconds: nobody is active meanwhile. */
const HANDOVER_ATTEMPTS_MAX = 4;

/** Everything captured, at the target, read back, every key used: only then may the active member stop. */
export async function catchUp(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { from, to, deadlineMs, accepted, acceptedRefused, planned }: Effect<'catch-up'>,
): Promise<FailoverEvent> {
  // The last look must be of now: neither a capture under way nor one whose answer was lost will do.
  const now = {
    ...intent,
    requestId: `${intent.requestId}.${context.ports.election.require()}.${intent.attempts}`,
  };
  requireInTime(context, intent, deadlineMs);
  const bringing = async (signal: AbortSignal) => {
    const captured = await captureUnlessHeld(context, now, group, { to, planned, signal });
    const target = { site: to, generation: captured.generation, signal };
    const { refusedObjects } = await applyAt(context, now, group, { ...target, retryRefused: true });
    if (!mayLeave({ accepted, ...(acceptedRefused === undefined ? {} : { acceptedRefused }) }, refusedObjects))
      throw refusedThere({ group, to, planned }, refusedObjects);
    return { ...captured, ...(await verifyAt(context, now, group, { ...target, everything: true })) };
  };
  const { generation, contentDigest, proof } = await bounded(context, intent, { group, from, to }, (signal) =>
    inTime(context, intent, deadlineMs, (over) => bringing(AbortSignal.any([signal, over]))),
  );
  const fault = faultOf({ generation, contentDigest, proof });
  if (fault !== undefined) {
    await withdraw(context, group, { site: to, generation, code: fault });
    const what = `site ${to} does not prove generation ${generation.number}`;
    const so = `site ${from} stays active, and what site ${to} has acknowledged no longer counts`;
    throw new AntipodeError(fault, `${what}; ${so}`, {
      details: { group: group.spec.name, site: to, failed: proof.failed },
    });
  }
  await acknowledge(context, group, { site: to, generation, epoch: group.epoch });
  const { epoch, number, manifestDigest } = generation;
  return { type: 'caught-up', generation: { epoch, number, manifestDigest }, startedMs: context.ports.clock.wallMs() };
}

/** A member may acknowledge a generation with exceptions. A move that loses nothing allows none of them. */
function refusedThere(
  { group, to, planned = false }: { group: Group; to: string; planned?: boolean | undefined },
  refused: number,
): AntipodeError {
  const { name } = group.spec;
  const order = planned
    ? `\`antipode failover ${name} --to ${to} --accept-loss\``
    : 'repeat the command with --accept-loss';
  return new AntipodeError('FAILOVER_REFUSED', `${wouldLeave(to, refused)}; nothing was changed`, {
    details: { group: name, site: to, refused },
    hint: `\`antipode group show ${name}\` tells which objects, and why. They were tried again just now. To move without them: ${order}.`,
  });
}

/**
 * A capture that is held says that the active token has lost what the newest generation has. A person who orders a
 * failover then wants that generation, and it is whole. A planned move loses nothing, and what was made at the active site
 * since would stay behind: in the token there, and in no generation.
 */
async function captureUnlessHeld(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { to, planned = false, signal }: { to: string; planned?: boolean | undefined; signal: AbortSignal },
): Promise<{ generation: Generation }> {
  try {
    return await captureActive(context, intent, group, signal);
  } catch (thrown) {
    if (planned && hasCode(thrown, 'CAPTURE_HELD')) throw heldThere(group, to, thrown);
    const newest = hasCode(thrown, 'CAPTURE_HELD')
      ? await context.ports.store.query((db) => readNewest(db, group.spec.name))
      : undefined;
    if (newest === undefined) throw thrown;
    return { generation: newest };
  }
}

function heldThere(group: Group, to: string, cause: AntipodeError): AntipodeError {
  const { name } = group.spec;
  const site = activeOf(group)?.site ?? '';
  const what = cause.message.replace(`[${cause.code}] `, '');
  return new AntipodeError(
    'FAILOVER_REFUSED',
    `the last capture of site ${site} is held: ${what}; nothing was changed`,
    {
      details: { ...cause.details, group: name, site },
      cause,
      hint: `Run \`antipode deleted list ${name}\` at site ${site}, and accept or restore the objects there. Then repeat the switchover. \`antipode failover ${name} --to ${to}\` moves to the newest generation at once. Keys made at site ${site} since then are in none, and stay behind.`,
    },
  );
}

/**
 * The last generation of the old tenure, which nobody but its holders has. Nobody has acknowledged it, so the promotion
 * goes on without it where it cannot be had.
 */
export async function handOver(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { epoch, to, excluded, handover: { newest, holders } }: Effect<'hand-over'>,
): Promise<FailoverEvent> {
  const outcome = await bring(context, intent, group, { epoch, owner: to, to, excluded, newest, holders });
  if (outcome.type === 'target-lost') return outcome;
  return { type: outcome.type === 'brought' ? 'handed-over' : 'not-handed-over' };
}

/**
 * Has the target fetch a generation that must not be lost from the store of a member that cannot serve. This happens
 * under the highest epoch so far, before another one is issued. If it fails, nothing was changed, and a failover that
 * must not lose this generation waits.
 */
export async function fetchFirst(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { to, excluded, fetch }: Effect<'fetch'>,
): Promise<FailoverEvent> {
  const { highestEpoch: epoch, highestOwner: owner } = group;
  const outcome = await bring(context, intent, group, { epoch, owner, to, excluded, ...fetch });
  if (outcome.type === 'target-lost') return outcome;
  return outcome.type === 'brought' ? { type: 'fetched' } : { type: 'not-fetched', code: outcome.code };
}

type Brought =
  | { readonly type: 'brought' }
  | { readonly type: 'not-brought'; readonly code: string }
  | { readonly type: 'target-lost'; readonly code: string };

/** Applied at the target, read back and acknowledged, under a given tenure. */
export async function bring(
  context: EffectContext,
  intent: Intent,
  group: Group,
  {
    epoch,
    owner,
    to,
    excluded,
    newest,
    holders,
  }: {
    epoch: bigint;
    owner: string;
    to: string;
    excluded: Effect<'hand-over'>['excluded'];
    newest: Handover['newest'];
    holders: Handover['holders'];
  },
): Promise<Brought> {
  const { store, detector } = context.ports;
  const name = group.spec.name;
  const generation = await store.query((db) => readGeneration(db, name, newest));
  if (generation === undefined) return { type: 'not-brought', code: 'GENERATION_UNKNOWN' };
  const fence = { group: name, epoch, owner, requestId: intent.requestId };
  const target = { site: to, generation, fence };
  try {
    const left = { site: to, excluded: excluded.map(({ site }) => site) };
    const verified = await unlessHung(context, group, left, async (signal) => {
      await applyAt(context, intent, group, { ...target, signal });
      return verifyAt(context, intent, group, { ...target, everything: false, signal });
    });
    const fault = faultOf({ generation, ...verified });
    if (fault !== undefined) {
      await withdraw(context, group, { site: to, generation, code: fault });
      return { type: 'not-brought', code: fault };
    }
    await acknowledge(context, group, { site: to, generation, epoch });
    return { type: 'brought' };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if (endsTheAttempt(error) || error.code === 'LEADERSHIP_LOST') throw error;
    if (isSilent(detector, to) || 'hangMs' in error.details) return { type: 'target-lost', code: error.code };
    // Trouble of a holder, or of the link to it, is none of the target.
    const isWorthAnother =
      holders.some((site) => !isSilent(detector, site)) && intent.attempts + 1 < HANDOVER_ATTEMPTS_MAX;
    if (error.disposition === 'retry' && isWorthAnother) throw error;
    return { type: 'not-brought', code: error.code };
  }
}

function faultOf({
  generation,
  contentDigest,
  proof,
}: {
  generation: Generation;
  contentDigest: string;
  proof: Proof;
}): 'OBJECT_UNPROVEN' | 'DIGEST_MISMATCH' | undefined {
  if (proof.failed > 0) return 'OBJECT_UNPROVEN';
  return contentDigest === generation.contentDigest ? undefined : 'DIGEST_MISMATCH';
}

/** A planned move takes these attempts and this time, and no more: captures wait, and whoever ordered it has gone. */
const CATCH_UP_ATTEMPTS_MAX = 6;
const CATCH_UP_MS_MAX = 30 * 60_000;

/**
 * Ends a planned move that cannot make progress: a site went silent, an HSM hung, or the target did not catch up in
 * time. Nothing was changed yet, so a person can look at it. The order is not waited for, because captures wait for the
 * move, and a failover that has become due would wait too.
 */
async function bounded<T>(
  context: EffectContext,
  { attempts, createdMs }: Intent,
  { group, from, to }: { group: Group; from: string; to: string },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { detector, clock } = context.ports;
  const refused = (why: string, cause: AntipodeError): AntipodeError =>
    new AntipodeError('FAILOVER_REFUSED', `${why}; nothing was changed`, {
      details: { ...cause.details, sites: sitesLost().join(',') },
      cause,
    });
  const sitesLost = (): string[] => [from, to].filter((site) => isSilent(detector, site));
  try {
    return await whileUsable(context, group, { sites: [from, to] }, work);
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if ('hangMs' in error.details) throw refused(error.message.replace(`[${error.code}] `, ''), error);
    const lost = sitesLost();
    const isOver =
      attempts + 1 >= CATCH_UP_ATTEMPTS_MAX || agoMs({ nowMs: clock.wallMs(), stampMs: createdMs }) >= CATCH_UP_MS_MAX;
    if (error.disposition !== 'retry' || (lost.length === 0 && !isOver)) throw thrown;
    throw refused(
      lost.length > 0
        ? `site ${lost.join(', ')} was lost while the target caught up`
        : `site ${to} has not caught up in ${attempts + 1} attempts: ${error.message}`,
      error,
    );
  }
}
