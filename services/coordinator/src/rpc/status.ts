/** Everything at a glance. */
import {
  certificateInfo,
  type GroupStateSchema,
  type Handlers,
  type Identity,
  identityUri,
  type OperatorService,
  revocationState,
  revokedText,
} from '@antipode/protocol';
import { VERSION } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ClockStep } from '../calendar/timeline.ts';
import type { SiteView } from '../sites/detector.ts';
import { readRecent } from '../store/tables/intents.ts';
import { GroupReader } from './groups/group-reader.ts';
import { toldTo } from './notices.ts';
import type { RpcPorts } from './ports.ts';
import { coordinatorStates } from './views/coordinators.ts';
import { operationMessage } from './views/operation.ts';
import { forgottenSite, siteState } from './views/site.ts';

/** A day after it, nobody wonders any more. */
const STEP_SHOWN_MS = 86_400_000;

const clockStepOf = (step: ClockStep | undefined) =>
  step === undefined || step.ageMs > STEP_SHOWN_MS
    ? {}
    : { clockStep: { byMs: BigInt(step.byMs), ageMs: BigInt(step.ageMs) } };

type GroupStateInit = MessageInitShape<typeof GroupStateSchema>;

/** An application is not told which labels the operators leave out. */
function forCaller({ kind }: Identity, states: GroupStateInit[]): GroupStateInit[] {
  if (kind === 'operator') return states;
  return states.map(
    ({ spec: { filter: _ofOperators, ...spec } = {}, ...state }) => ({ ...state, spec }) as GroupStateInit,
  );
}

/** Of a site that is heard, only an earlier certificate is revoked. */
function revokedOf({ revocations }: RpcPorts, { site, status }: SiteView): string[] {
  if (revocations === undefined || status === 'up') return [];
  const name = identityUri({ trustDomain: revocations.trustDomain, kind: 'site', name: site });
  return revocations.book.namedEntries(name).map((entry) => `${revokedText(entry)}. Reason: ${entry.reason}`);
}

type StatusHandlers = Pick<Handlers<typeof OperatorService>, 'getStatus'>;

export function statusHandlers(ports: RpcPorts): StatusHandlers {
  const { id, store, election, detector, coordinators, reconciler, wakeUps, clock, timeline, forgotten } = ports;
  const groups = new GroupReader(ports);
  return {
    getStatus: async (_request, { identity }) => ({
      coordinator: id,
      version: VERSION,
      isLeader: election.epoch !== undefined,
      coordinators: coordinatorStates({
        id,
        address: coordinators.addressOf(id),
        leadsForMs: clock.monotonicMs() - (election.sinceMs ?? clock.monotonicMs()),
        reports: coordinators.reports.filter(({ site }) => detector.isUp(site)),
        nowMs: clock.monotonicMs(),
      }),
      sites: detector.sites.map((view, _at, others) =>
        siteState(view, {
          nowMonotonicMs: clock.monotonicMs(),
          nowMs: clock.wallMs(),
          refused: detector.refused(view.site),
          others,
          revoked: revokedOf(ports, view),
        }),
      ),
      groups: forCaller(identity, await groups.states()),
      operations: (await store.query(readRecent)).map((intent) =>
        operationMessage(intent, (atMs) => timeline.toWallMs(atMs)),
      ),
      ...(await toldTo(ports)),
      isQueueUp: wakeUps.isUp() && !reconciler.isQueueMute,
      isQueueMute: reconciler.isQueueMute,
      forgottenSites: forgotten.all.map(({ record, calls }) =>
        forgottenSite(record, calls, { nowMs: clock.monotonicMs(), toWallMs: (atMs) => timeline.toWallMs(atMs) }),
      ),
      planningTroubles: reconciler.troubles.map(({ group, error, sinceMs }) => ({
        group,
        errorCode: error.code,
        message: error.message,
        ageMs: BigInt(Math.round(clock.monotonicMs() - sinceMs)),
        hint: error.hint,
      })),
      ...clockStepOf(timeline.lastStep),
      ...(ports.revocations === undefined
        ? {}
        : { revocations: revocationState(ports.revocations.book, ports.revocations.ownRefusal()) }),
      ...(ports.certificate === undefined ? {} : { certificate: certificateInfo(ports.certificate()) }),
    }),
  };
}
