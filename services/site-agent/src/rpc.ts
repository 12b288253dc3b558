/** The orders of SiteAgentService: each mutating one is admitted by its fence first, then acted upon. */
import type { Handlers, SiteAgentService } from '@antipode/protocol';
import type { LoopDelay } from '@antipode/runtime';
import { AntipodeError, hasCode } from '@antipode/runtime';
import { apply, type Touched } from './apply.ts';
import { capture } from './capture.ts';
import { describe, memberState, roleFrom } from './describe.ts';
import { drill } from './drill.ts';
import type { Exchanges } from './exchange.ts';
import { promote } from './promote.ts';
import { fenceOf, type Site, seatOf } from './site.ts';
import { verify } from './verify.ts';

export function siteAgentHandlers({
  site,
  exchanges,
  loopDelay,
}: {
  site: Site;
  exchanges: Exchanges;
  loopDelay: LoopDelay;
}): Handlers<typeof SiteAgentService> {
  const touched: Touched = new Map();
  const admit = (request: Parameters<typeof fenceOf>[0]): void => site.fences.admit(fenceOf(request));
  return {
    describe: async () => describe(site),

    ping: async () => ({ site: site.name, instance: site.instance }),

    probePeer: async ({ peer, timeoutMs }) => {
      if (peer === undefined)
        throw new AntipodeError('REQUEST_INVALID', 'peer is missing', { details: { field: 'peer' } });
      const startedMs = site.clock.monotonicMs();
      const reachable = await site.peers
        .client(peer)
        .ping({}, { timeoutMs })
        .then(() => true)
        .catch((thrown: unknown) => {
          if (hasCode(thrown, 'SITE_UNREACHABLE', 'TIMED_OUT')) return false;
          throw thrown;
        });
      return {
        reachable,
        roundTripMs: Math.round(site.clock.monotonicMs() - startedMs),
        observerLoopDelayMs: loopDelay.maxMs(),
      };
    },

    setRole: async (request) => {
      const { group, epoch, owner } = fenceOf(request);
      const role = roleFrom(request.role);
      if (role === undefined)
        throw new AntipodeError('REQUEST_INVALID', 'role is unknown', { details: { field: 'role' } });
      const partition = site.partitions.bySerial(request.serial);
      if (partition.settings.role === 'scratch')
        throw new AntipodeError('ROLE_REFUSED', 'a scratch partition takes no seat', {
          details: { group, serial: request.serial },
        });
      const other = site.journal.seats().find((seat) => seat.serial === request.serial && seat.group !== group);
      if (other !== undefined)
        throw new AntipodeError('ALREADY_EXISTS', `partition ${request.serial} has a seat in group ${other.group}`, {
          details: { group, serial: request.serial },
        });
      const seat = site.journal.seat(group);
      admit(request);
      const isFirstActive =
        role === 'active' &&
        owner === site.name &&
        (seat === undefined || seat.role === 'active') &&
        (seat !== undefined || epoch === 1n);
      if (role === 'active' && !isFirstActive)
        throw new AntipodeError('ROLE_REFUSED', 'a member becomes active by promotion', {
          details: { group, role: seat?.role ?? 'none' },
        });
      // An active member leaves its role only by a higher epoch, which the fence has done already.
      if (seat?.role === 'active' && role !== 'active' && site.journal.seat(group)?.role === 'active') {
        throw new AntipodeError('ROLE_REFUSED', `this site is active in group ${group}`, { details: { group, epoch } });
      }
      site.journal.setSeat(group, request.serial, role);
      if (role !== 'active') site.leases.revoke(group);
      if (seat?.role !== role) site.log.info('role taken', { group, epoch, owner, role });
      return { member: memberState(site, seatOf(site, group).seat) };
    },

    promote: async (request) => {
      admit(request);
      const { proof } = await promote(site, request);
      return { member: memberState(site, seatOf(site, fenceOf(request).group).seat), proof };
    },

    distributeDomainKey: async (request) => {
      admit(request);
      return exchanges.distribute(request);
    },

    capture: async (request) => {
      admit(request);
      return capture(site, request);
    },

    apply: async (request) => {
      admit(request);
      return apply(site, touched, request);
    },

    verify: async (request) => {
      admit(request);
      return verify(site, touched, request);
    },

    drill: async (request) => {
      admit(request);
      return drill(site, request);
    },

    beginExchange: (request) => exchanges.begin(request),
    completeExchange: (request) => exchanges.complete(request),
    pullManifest: (request) => site.transfer.manifest(request),
    pullBlobs: (request) => site.transfer.blobs(request),
  };
}
