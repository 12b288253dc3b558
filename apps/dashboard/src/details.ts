/** Answers to what a page asks when somebody looks closer: one group, drills with their evidence, operations, approvals. */
import {
  CHOSEN_FOR,
  duration,
  notCaptured,
  notServed,
  readApproval,
  spokenDigest,
  troublesOf,
} from '@antipode/operator';
import {
  approvalText,
  type Client,
  type DrillRecord,
  type GroupState,
  type Operation,
  type OperatorService,
} from '@antipode/protocol';
import { AntipodeError, type Clock, hex, sha256Hex } from '@antipode/runtime';
import type { ApprovalEntry, Drill, GroupDetail, LineGeneration } from './model/entries.ts';
import { operationOf } from './model/fleet.ts';
import type { Call, Routes } from './server/server.ts';

export interface DetailPorts {
  readonly operator: Client<typeof OperatorService>;
  readonly clock: Clock;
}

/** Far enough back for the generations of a page, although most captures find nothing new. */
const LINE_OPERATIONS = 400;
/** More than that cannot be told apart on a page. */
const LINE_MAX = 40;
const DRILLS_MAX = 50;
const OPERATIONS_MAX = 100;

export function detailRoutes({ operator, clock }: DetailPorts): Routes {
  return {
    'GET /api/group': async ({ query }): Promise<GroupDetail> => {
      const name = query.get('name') ?? '';
      const [{ group }, { operations }, { drills }] = await Promise.all([
        operator.getGroup({ group: name }),
        operator.listOperations({ group: name, limit: LINE_OPERATIONS }),
        operator.listDrills({ group: name, limit: 10 }),
      ]);
      if (group === undefined) throw new AntipodeError('NOT_FOUND', `there is no group ${name}`);
      const active = group.members.find(({ site }) => site === group.activeSite);
      return {
        troubles: [...troublesOf(group), ...notCaptured(group), ...notServed(group)],
        why: whyActive(group, operations),
        leaseEndsAt: clock.wallMs() + Number(active?.leaseRemainingMs ?? 0n),
        line: lineOf(operations),
        drills: drills.map(drillOf),
        operations: operations.filter(isNotable).slice(0, 20).map(operationOf),
        scratchSites: (group.spec?.scratch ?? []).map(({ site }) => site),
      };
    },

    'GET /api/drills': async () => {
      const { drills } = await operator.listDrills({ group: '', limit: DRILLS_MAX });
      return drills.map(drillOf);
    },

    'GET /api/evidence': async ({ query }: Call) => {
      const [id, group] = [query.get('id') ?? '', query.get('group') ?? ''];
      const { drills } = await operator.listDrills({ group, limit: DRILLS_MAX });
      const drill = drills.find((one) => one.id === id);
      if (drill === undefined) throw new AntipodeError('NOT_FOUND', `there is no drill ${id}`);
      const { evidence, signature, signer } = drill;
      return { evidence, signature: hex(signature), signer: Buffer.from(signer).toString('base64') };
    },

    'GET /api/operations': async () => {
      const { operations } = await operator.listOperations({ group: '', limit: OPERATIONS_MAX });
      return operations.map(operationOf);
    },

    'GET /api/approvals': async (): Promise<ApprovalEntry[]> => {
      const { approvals } = await operator.listApprovals({ group: '' });
      return approvals.map((one) => {
        const { request, digest, signers } = readApproval(one);
        return {
          digest,
          spoken: spokenDigest(digest),
          action: request.action,
          group: request.group,
          requestedBy: request.requestedBy,
          required: request.required,
          lines: approvalText(request),
          signers,
          expires: Date.parse(request.expires),
          usedAt: one.uses.map(({ site }) => site),
        };
      });
    },
  };
}

const isNotable = ({ kind, status }: Operation): boolean =>
  status === 'open' || status === 'parked' || status === 'failed' || (kind !== 'capture' && kind !== 'replication');

/** The way of the active role to its site, by the newest failover on record. */
function whyActive({ activeSite, epoch, spec }: GroupState, operations: readonly Operation[]): string[] {
  if (activeSite === '') return ['No site is active.'];
  const held = `Site ${activeSite} is active in epoch ${epoch}.`;
  const move = operations.find(({ kind, status }) => kind === 'failover' && status === 'done');
  const outcome = move?.outcome.case === 'failover' ? move.outcome.value : undefined;
  if (outcome === undefined || outcome.toSite !== activeSite)
    return [
      held,
      spec?.members[0]?.site === activeSite
        ? 'The group was declared with it as its first member.'
        : 'No failover to it is on record any more.',
    ];
  const why = CHOSEN_FOR[outcome.chosenFor];
  const others = outcome.passedOver.map(({ site, errorCode }) => `${site} (${errorCode})`).join(', ');
  const { recoveryTimeMs, provedObjects } = outcome;
  return [
    held,
    `${outcome.reason === 'automatic' ? 'The coordinator' : 'An operator'} moved the group there from site ${outcome.fromSite || 'none'} at ${new Date(Number(move!.updatedMs)).toISOString().slice(0, 19)}Z.`,
    ...(why === undefined ? [] : [`It was chosen because ${why}.`]),
    ...(recoveryTimeMs === undefined
      ? []
      : [
          `The group was without an active member for ${duration(recoveryTimeMs)}. ${provedObjects ?? 0} objects were proved before it served.`,
        ]),
    ...(others === '' ? [] : [`Sites that were chosen before it and could not serve: ${others}.`]),
  ];
}

/**
 * The newest generations with the times of their capture and of their acknowledgements, by the operations on record. An
 * older generation than those is not shown, and neither is an acknowledgement whose operation is gone.
 */
export function lineOf(operations: readonly Operation[]): LineGeneration[] {
  const line = new Map<string, { -readonly [Name in keyof LineGeneration]: LineGeneration[Name] }>();
  const done = operations.filter(({ status }) => status === 'done').toReversed();
  for (const { outcome, site, createdMs } of done) {
    if (outcome.case !== 'capture' || !outcome.value.isNew || outcome.value.generation === undefined) continue;
    const { epoch, generation } = outcome.value.generation;
    line.set(`${epoch} ${generation}`, {
      epoch: Number(epoch),
      number: Number(generation),
      site,
      capturedAt: Number(createdMs),
      sealed: outcome.value.sealedObjects,
      acknowledged: [],
    });
  }
  for (const { outcome, site, updatedMs } of done) {
    if (outcome.case !== 'replication' || outcome.value.generation === undefined) continue;
    const { epoch, generation } = outcome.value.generation;
    const found = line.get(`${epoch} ${generation}`);
    if (found === undefined || found.acknowledged.some((one) => one.site === site)) continue;
    found.acknowledged = [...found.acknowledged, { site, at: Number(updatedMs) }];
  }
  return [...line.values()].sort((one, other) => one.epoch - other.epoch || one.number - other.number).slice(-LINE_MAX);
}

export function drillOf(drill: DrillRecord): Drill {
  const { id, group, site, generation, passed, errorCode, proof, vault, signer, signature } = drill;
  return {
    id,
    group,
    site,
    vault,
    generation: Number(generation),
    passed,
    error: errorCode,
    proved: proof?.proved ?? 0,
    failed: proof?.failed ?? 0,
    notExercised: proof?.usesNotExercised ?? 0,
    started: Number(drill.startedMs),
    recoveryMs: Number(drill.recoveryTimeMs),
    signer: signer.length === 0 || signature.length === 0 ? '' : sha256Hex(signer),
  };
}
