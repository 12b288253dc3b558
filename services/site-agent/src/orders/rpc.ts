/** The orders of SiteAgentService: each mutating one is admitted by its fence first, then acted upon. */
import { type CallContext, fenceOf, type Handlers, isUnreachable, roleOf, SiteAgentService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { mergeDivergence } from '../divergence/merge.ts';
import { offerDivergence } from '../divergence/offer.ts';
import { matchFilter } from '../partition/object-filter.ts';
import { type Site, seatOf } from '../site.ts';
import { apply, Touched } from './apply.ts';
import { archive } from './archive.ts';
import { capture } from './capture.ts';
import { describe, memberState, openHeads } from './describe.ts';
import { distribute } from './distribution.ts';
import { retireDomainKeys } from './domain-key-retirement.ts';
import { drill } from './drill.ts';
import { Exchanges } from './exchange.ts';
import { promote } from './promote.ts';
import { reseat } from './reseat.ts';
import { scrub } from './scrub.ts';
import { reportStanding } from './standing.ts';
import { tellGroups } from './tell-groups.ts';
import { verify } from './verify.ts';

type Methods = (typeof SiteAgentService)['method'];
/** Orders that may take long: they are started and asked for. */
type StartedOrder =
  | 'promote'
  | 'distributeDomainKey'
  | 'capture'
  | 'apply'
  | 'verify'
  | 'scrub'
  | 'offerDivergence'
  | 'mergeDivergence'
  | 'retireDomainKeys'
  | 'drill'
  | 'archive';

export function siteAgentHandlers(site: Site): Handlers<typeof SiteAgentService> {
  const { orders, idle, loopDelay } = site;
  const exchanges = new Exchanges(site);
  const touched = new Touched();
  /** Waits while another program, such as a backup, holds a lock on the journal. It gives up when the caller does. */
  const untilWritable = (signal: AbortSignal): Promise<void> => site.journal.untilWritable(site.clock, signal);
  /**
   * The process and the term come first. A copy of the folder of this site persists nothing and answers nothing in the
   * place of the process that speaks for it. An order of a coordinator that leads no longer persists no epoch.
   */
  const inTerm = (request: Parameters<typeof fenceOf>[0], { identity }: CallContext): void => {
    const { instance, term } = fenceOf(request);
    if (instance !== '' && instance !== site.instance)
      throw new AntipodeError('OTHER_PROCESS_ANSWERS', `the order is for another process of site ${site.name}`, {
        details: { site: site.name, expected: instance, found: site.instance },
      });
    site.terms.admit({ term, coordinator: identity.name });
  };
  const admit = (request: Parameters<typeof fenceOf>[0], call: CallContext): void => {
    inTerm(request, call);
    site.fences.admit(fenceOf(request));
  };
  site.fences.onRaised = (raised) => orders.overtaken(raised);
  /** A failed order leaves a line here, by the id that the coordinator's line has too. Never a label: errors hold none. */
  const told = async <Response>(
    order: string,
    request: Parameters<typeof fenceOf>[0],
    signal: AbortSignal,
    work: () => Promise<Response>,
  ): Promise<Response> => {
    try {
      return await work();
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      const { group, epoch, requestId } = fenceOf(request);
      // An order whose caller has gone did not fail.
      if (error.disposition !== 'defect' && !signal.aborted)
        site.log.warn('order failed', { order, group, epoch, request: requestId, error });
      throw thrown;
    }
  };
  /** The fence admits each call, even one that only asks for an outcome. It comes before everything. */
  const ordered = async <Name extends StartedOrder>(
    name: Name,
    request: MessageShape<Methods[Name]['input']>,
    call: CallContext,
    work: (signal: AbortSignal) => Promise<MessageInitShape<Methods[Name]['output']>>,
  ): Promise<MessageInitShape<Methods[Name]['output']>> => {
    const { signal } = call;
    return told(name, request, signal, async () => {
      await untilWritable(signal);
      admit(request, call);
      const { input: schema } = SiteAgentService.method[name];
      return orders.run({ method: name, schema, request, signal }, (ofOrder) => idle.after(() => work(ofOrder)));
    });
  };
  return {
    describe: async () => describe(site),

    tellGroups: async () => tellGroups(site),

    ping: async () => ({ site: site.name, instance: site.instance }),

    vouch: async (request, { identity }) => {
      site.vouches.vouch(request, identity.name);
      return {};
    },

    reportStanding: (request, { identity }) => reportStanding(site, request, identity.name),

    probePeer: async ({ peer, timeoutMs }, { signal }) => {
      if (peer === undefined)
        throw new AntipodeError('REQUEST_INVALID', 'peer is missing', { details: { field: 'peer' } });
      const startedMs = site.clock.monotonicMs();
      const reachable = await site.peers
        .client(peer)
        .ping({}, { timeoutMs, signal })
        .then(() => true)
        .catch((thrown: unknown) => {
          // A server there with another certificate, or an expired one, is not that site.
          if (isUnreachable(thrown)) return false;
          throw thrown;
        });
      return {
        reachable,
        roundTripMs: Math.round(site.clock.monotonicMs() - startedMs),
        observerLoopDelayMs: loopDelay.maxMs(),
        instance: site.instance,
      };
    },

    setRole: (request, call) =>
      told('setRole', request, call.signal, async () => {
        const { signal } = call;
        await openHeads(site);
        await untilWritable(signal);
        inTerm(request, call);
        const { group, epoch, owner } = fenceOf(request);
        const role = roleOf(request.role);
        const partition = site.partitions.bySerial(request.serial);
        if (partition.settings.role !== 'member')
          throw new AntipodeError('ROLE_REFUSED', `a ${partition.settings.role} partition takes no seat`, {
            details: { group, serial: request.serial },
          });
        const other = site.journal.tenure
          .seats()
          .find((seat) => seat.serial === request.serial && seat.group !== group);
        if (other !== undefined)
          throw new AntipodeError('ALREADY_EXISTS', `partition ${request.serial} has a seat in group ${other.group}`, {
            details: { group, serial: request.serial },
            hint: 'Use another partition for this group: a partition has a seat in one group only.',
          });
        const seat = site.journal.tenure.seat(group);
        const before = seat?.role;
        if (before === 'active' && role === 'active' && seat?.serial !== request.serial)
          throw new AntipodeError('ROLE_REFUSED', `another partition of this site is active in group ${group}`, {
            details: { group, serial: request.serial },
          });
        // A seat is a vote, and a place for the domain key.
        if (seat?.serial !== request.serial)
          site.enrolments.require(fenceOf(request), [{ site: site.name, serial: request.serial }]);
        admit(request, call);
        const now = site.journal.tenure.seat(group)?.role;
        const isFirst = now === undefined && (epoch === 1n || request.founding);
        if (role === 'active' && (owner !== site.name || (now !== 'active' && !isFirst)))
          throw new AntipodeError('ROLE_REFUSED', 'only a promotion makes a member active', {
            details: { group, role: now ?? 'none' },
          });
        // An active member leaves its role only by a higher epoch, which the fence has done already.
        if (role !== 'active' && now === 'active')
          throw new AntipodeError('ROLE_REFUSED', `this site is active in group ${group}`, {
            details: { group, epoch },
          });
        if (now === undefined && request.founding) site.journal.tenure.found(group);
        site.journal.tenure.setSeat(group, request.serial, role);
        if (role !== 'active') site.leases.revoke(group);
        if (before !== role) site.log.info('role taken', { group, epoch, owner, role });
        return {
          member: memberState(site, seatOf(site, group).seat),
          vouchSilentMs: BigInt(Math.floor(site.vouches.silentMs)),
          instance: site.instance,
        };
      }),

    persistEpoch: (request, call) =>
      told('persistEpoch', request, call.signal, async () => {
        await untilWritable(call.signal);
        admit(request, call);
        const { tenure } = site.journal;
        const { group } = fenceOf(request);
        if (request.endsQuarantine && tenure.quarantine(group) !== undefined && tenure.seat(group) === undefined) {
          tenure.endQuarantine(group);
          site.log.warn('no longer in quarantine: an operator has reseated the group', { group });
        }
        return {
          ...tenure.fence(group),
          vouchSilentMs: BigInt(Math.floor(site.vouches.silentMs)),
          instance: site.instance,
        };
      }),
    reseat: async (request, call) => {
      const { signal } = call;
      await told('reseat', request, signal, async () => {
        await untilWritable(signal);
        inTerm(request, call);
        await reseat(site, request, signal);
      });
      await openHeads(site);
      return { member: memberState(site, seatOf(site, fenceOf(request).group).seat) };
    },

    promote: (request, call) =>
      ordered('promote', request, call, async (signal) => {
        const { proof } = await promote(site, request, signal);
        return { member: memberState(site, seatOf(site, fenceOf(request).group).seat), proof };
      }),
    distributeDomainKey: (request, call) =>
      ordered('distributeDomainKey', request, call, (signal) => distribute({ site, exchanges }, request, signal)),
    capture: (request, call) => ordered('capture', request, call, (signal) => capture(site, request, signal)),
    apply: (request, call) => ordered('apply', request, call, (signal) => apply(site, touched, request, signal)),
    verify: (request, call) => ordered('verify', request, call, (signal) => verify(site, touched, request, signal)),
    scrub: (request, call) => ordered('scrub', request, call, (signal) => scrub(site, request, signal)),
    offerDivergence: (request, call) =>
      ordered('offerDivergence', request, call, (signal) => offerDivergence(site, request, signal)),
    mergeDivergence: (request, call) =>
      ordered('mergeDivergence', request, call, (signal) => mergeDivergence(site, request, signal)),
    retireDomainKeys: (request, call) =>
      ordered('retireDomainKeys', request, call, (signal) => retireDomainKeys(site, request, signal)),
    drill: (request, call) => ordered('drill', request, call, (signal) => drill(site, request, signal)),
    archive: (request, call) => ordered('archive', request, call, () => archive(site, request)),

    matchFilter: (request, { signal }) => matchFilter(site, request, signal),

    cancelOrder: async (request, call) => {
      admit(request, call);
      return { found: orders.cancel(fenceOf(request)) };
    },

    beginExchange: (request, context) => exchanges.begin(request, context),
    completeExchange: (request, context) => exchanges.complete(request, context),
    pullManifest: (request, { identity }) => idle.afterAll(site.transfer.manifest(request, identity.name)),
    pullBlobs: (request, { identity }) => idle.afterAll(site.transfer.blobs(request, identity.name)),
  };
}
