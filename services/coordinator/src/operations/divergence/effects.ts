/** Orders the site to offer its divergent objects and the active member to merge them, and records what came of it. */
import { filterMessage } from '@antipode/protocol';
import { AntipodeError, fromHex, hex } from '@antipode/runtime';
import type { Group, Member } from '../../model.ts';
import { setForeignObjects } from '../../store/tables/groups.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { captureActive } from '../capture/effects.ts';
import { type EffectContext, fenceOf, requireActive, WORK_TIMEOUT_MS } from '../context.ts';
import type { DivergenceEffect, DivergenceEvent } from './machine.ts';

export async function divergence(
  context: EffectContext,
  intent: Intent,
  effect: DivergenceEffect,
): Promise<DivergenceEvent> {
  const group = await context.group(intent);
  const name = group.spec.name;
  const { site } = intent;
  if (effect.type === 'record') {
    const { action, operator, settled } = effect;
    const verdicts = Object.fromEntries(
      [...Map.groupBy(settled, ({ verdict }) => verdict)].map(([verdict, some]) => [verdict, some.length]),
    );
    const kind = action === 'merge' ? 'divergence-merged' : 'divergence-kept';
    await context.write(async (_trx, record) =>
      record({ kind, group: name, site, details: { operation: intent.id, operator, ...verdicts } }),
    );
    return { type: 'recorded' };
  }
  await context.requireNoMove(name);
  switch (effect.type) {
    case 'offer':
      return offer(context, intent, { group, member: returnedMember(group, site), kept: effect.kept });
    case 'merge': {
      returnedMember(group, site);
      const active = requireActive(group);
      const { objects } = await context.agent(active.site).mergeDivergence(
        {
          fence: await context.guarded(group, intent, fenceOf(group, intent), 'restore'),
          source: context.ports.agents.address(site),
          manifestDigests: effect.digests.map(fromHex),
          objectIds: [...effect.objectIds],
          filter: filterMessage(group.spec.filter),
        },
        { timeoutMs: WORK_TIMEOUT_MS },
      );
      return {
        type: 'merged',
        epoch: group.epoch,
        settled: objects.map(({ objectId, kind, verdict, errorCode: code }) => ({ objectId, kind, verdict, code })),
      };
    }
    case 'capture': {
      const { generation } = await captureActive(context, intent, group);
      const { epoch, number, manifestDigest } = generation;
      return { type: 'captured', generation: { epoch, number, manifestDigest } };
    }
  }
}

async function offer(
  context: EffectContext,
  intent: Intent,
  { group, member, kept }: { group: Group; member: Member; kept: readonly string[] },
): Promise<DivergenceEvent> {
  const answer = await context
    .agent(member.site)
    .offerDivergence({ fence: fenceOf(group, intent), keptObjectIds: [...kept] }, { timeoutMs: WORK_TIMEOUT_MS });
  const { divergentObjects: divergent, unaccountedObjects: unaccounted } = answer;
  await context.write((trx) => setForeignObjects(trx, group.spec.name, member, { divergent, unaccounted }));
  return {
    type: 'offered',
    divergent: answer.objects.map(({ objectId, kind, state, reason }) => ({ objectId, kind, state, reason })),
    digests: answer.manifestDigests.map(hex),
  };
}

/** @throws NOT_FOUND, ROLE_REFUSED */
export function returnedMember(group: Group, site: string): Member {
  const name = group.spec.name;
  const member = group.members.find((one) => one.site === site);
  const details = { group: name, site };
  if (member === undefined)
    throw new AntipodeError('NOT_FOUND', `site ${site} has no seat in group ${name}`, {
      details,
      hint: `Run \`antipode divergence list\` to see which sites have divergent objects.`,
    });
  if (member.role === 'standby') return member;
  throw new AntipodeError('ROLE_REFUSED', `site ${site} is ${member.role} in group ${name}, expected a standby`, {
    details,
    hint:
      member.role === 'active'
        ? 'The active member captures everything that is in its partition. Name the site that has returned. Objects that were set aside at the active site come back by `antipode deleted restore` there.'
        : `Wait until the site has rejoined. \`antipode group show ${name}\` shows its role.`,
  });
}
