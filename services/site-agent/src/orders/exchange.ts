/**
 * Answers an agent that brings a domain key to a partition of this site, by the exchange in two halves. The pins of
 * this site say which site may bring one. If a distributor is pinned for the group (ADR 0025), it is the distributor's
 * site. Otherwise it is the active member's.
 */
import { ExchangeResponder, fingerprint, type GroupEpoch } from '@antipode/hsm-core';
import {
  type BeginExchangeRequest,
  type CallContext,
  type CompleteExchangeRequest,
  type Fence,
  fenceOf,
  type Identity,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { OpenPartition, Partition } from '../partition/partition.ts';
import type { Site } from '../site.ts';

/** As long as the responder keeps its half (responder.ts): what is older can only be refused. */
const OPEN_MS_MAX = 60_000;
/**
 * Exchanges of one site at one partition. An honest site has a single exchange open, and a rogue one must not take all
 * places.
 */
const OPEN_PER_SITE_MAX = 4;

interface OpenExchange {
  readonly group: string;
  readonly version: number;
  /** The site that began it; nobody else completes it. */
  readonly caller: string;
  readonly partition: Partition;
  readonly provider: object;
  readonly responder: ExchangeResponder;
  readonly sinceMs: number;
}

/** Exchanges that are open at this site, by id: the second half must meet the session objects of the first. */
export class Exchanges {
  readonly #site: Site;
  readonly #open = new Map<string, OpenExchange>();
  readonly #responders = new WeakMap<object, Map<string, ExchangeResponder>>();

  constructor(site: Site) {
    this.#site = site;
  }

  async begin(request: BeginExchangeRequest, { identity, signal }: CallContext) {
    const { group, version, exchangeId, responderSerial, offer } = request;
    if (offer === undefined)
      throw new AntipodeError('REQUEST_INVALID', 'offer is missing', { details: { field: 'offer' } });
    const fence = fenceOf(request);
    // The initiator has passed on the approvals of its order. The pins below say whether it may bring this key at all.
    this.#site.enrolments.require({ ...fence, group }, [
      { site: this.#site.name, serial: responderSerial },
      { site: identity.name, serial: offer.serial },
    ]);
    this.#checkInitiator(fence, { group, caller: identity });
    const partition = this.#site.partitions.bySerial(responderSerial);
    return partition.use(async (open) => {
      this.#checkInitiator(fence, { group, caller: identity });
      this.#checkPin(offer, { group, caller: identity });
      this.#forgetOver(partition, open.provider);
      await this.#supersede(partition, { group, version, caller: identity.name });
      const ofCaller = [...this.#open.values()].filter(
        (one) => one.caller === identity.name && one.partition === partition,
      );
      if (this.#open.has(exchangeId) || ofCaller.length >= OPEN_PER_SITE_MAX)
        throw new AntipodeError(
          'EXCHANGE_REFUSED',
          `site ${identity.name} already has this exchange or too many exchanges open here`,
          {
            details: { serial: responderSerial, site: identity.name, open: ofCaller.length },
          },
        );
      const responder = this.responder(open, fence);
      const sinceMs = this.#site.clock.monotonicMs();
      const answer = await responder.begin({ exchangeId, group, version, offer: copyOffer(offer) });
      const { provider } = open;
      this.#open.set(exchangeId, { group, version, caller: identity.name, partition, provider, responder, sinceMs });
      return answer;
    }, signal);
  }

  async complete(request: CompleteExchangeRequest, { identity, signal }: CallContext) {
    const { exchangeId, wrappedKey, wrappedTrustedKey, signature } = request;
    const exchange = this.#open.get(exchangeId);
    const isOver = exchange !== undefined && this.#isOver(exchange);
    if (exchange === undefined || isOver || exchange.caller !== identity.name)
      throw new AntipodeError('EXCHANGE_REFUSED', `site ${identity.name} has no such exchange open`, {
        details: { exchangeId },
      });
    // The exchange is over, whether this half succeeds or not.
    this.#open.delete(exchangeId);
    const fence = fenceOf(request);
    return exchange.partition.use(async (open) => {
      if (open.provider !== exchange.provider)
        throw new AntipodeError('EXCHANGE_REFUSED', 'the HSM session of the exchange has ended', {
          details: { exchangeId },
        });
      // Right before the key is installed (I2): the tenure may have ended since, or while other work had its turn.
      this.#checkInitiator(fence, { group: exchange.group, caller: identity });
      const receipt = await exchange.responder.complete({
        exchangeId,
        wrappedKey: new Uint8Array(wrappedKey),
        ...(wrappedTrustedKey.length === 0 ? {} : { wrappedTrustedKey: new Uint8Array(wrappedTrustedKey) }),
        signature: new Uint8Array(signature),
      });
      await open.refreshKeyring();
      return receipt;
    }, signal);
  }

  /**
   * Checked, not admitted: only the coordinator's orders raise an epoch, never a peer's. If a distributor is pinned,
   * its site alone may begin an exchange, under whatever tenure is in force.
   */
  #checkInitiator(fence: Fence, { group, caller }: { group: string; caller: Identity }): void {
    const distributors = this.#site.trust.distributors(group);
    const mayBegin =
      distributors.length === 0 ? caller.name === fence.owner : distributors.some(({ site }) => site === caller.name);
    if (caller.kind !== 'site' || !mayBegin)
      throw new AntipodeError(
        'PEER_REFUSED',
        distributors.length === 0
          ? `${caller.kind} ${caller.name} must not act for site ${fence.owner}`
          : `${caller.kind} ${caller.name} brings no domain keys to group ${group}: a distributor does`,
        { details: { group, owner: fence.owner } },
      );
    if (fence.group !== group)
      throw new AntipodeError('REQUEST_INVALID', 'the fence belongs to another group', {
        details: { field: 'fence.group' },
      });
    this.#site.fences.checkPeer(fence);
    this.#site.authority.asSite(fence);
  }

  /**
   * An identity counts from its own site only. It brings domain keys as a distributor if the group has one, and as a
   * member otherwise. The responder checks whether the identity is pinned at all.
   */
  #checkPin(
    { serial, identity }: { serial: string; identity: Uint8Array },
    { group, caller }: { group: string; caller: Identity },
  ): void {
    const pin = this.#site.trust.find(group, fingerprint(identity));
    const wanted = this.#site.trust.distributors(group).length > 0 ? 'distributor' : 'member';
    if (pin === undefined || (pin.site === caller.name && pin.serial === serial && pin.role === wanted)) return;
    throw new AntipodeError(
      'PEER_REFUSED',
      `site ${caller.name} shows the identity of ${pin.role} ${pin.serial} of site ${pin.site} as that of partition ${serial}`,
      { details: { group, site: caller.name, serial } },
    );
  }

  #isOver({ sinceMs }: OpenExchange): boolean {
    return this.#site.clock.monotonicMs() - sinceMs > OPEN_MS_MAX;
  }

  /**
   * Ends what the same site has begun here for earlier versions. A distribution that one member has failed completes
   * nothing, and the next version takes its place. Its open halves must not take the places of that one.
   */
  async #supersede(
    partition: Partition,
    { group, version, caller }: Pick<OpenExchange, 'group' | 'version' | 'caller'>,
  ): Promise<void> {
    for (const [exchangeId, one] of this.#open) {
      if (one.partition !== partition || one.caller !== caller || one.group !== group || one.version >= version)
        continue;
      this.#open.delete(exchangeId);
      await one.responder.abandon(exchangeId);
    }
  }

  /** Forgets exchanges that nobody completed in time, and those whose session has ended. */
  #forgetOver(partition: Partition, provider: object): void {
    for (const [exchangeId, one] of this.#open)
      if (this.#isOver(one) || (one.partition === partition && one.provider !== provider))
        this.#open.delete(exchangeId);
  }

  /**
   * The responder of an open partition: one for each session, since its second half meets session objects of the first, and
   * one for each tenure, in which it installs.
   */
  responder(open: OpenPartition, { group, epoch }: GroupEpoch): ExchangeResponder {
    const ofSession = this.#responders.get(open.provider) ?? new Map<string, ExchangeResponder>();
    this.#responders.set(open.provider, ofSession);
    const name = JSON.stringify([group, epoch.toString()]);
    const known = ofSession.get(name);
    if (known !== undefined) return known;
    const { clock, journal, log, prng, trust } = this.#site;
    const { serial } = open.description;
    const responder = new ExchangeResponder({
      provider: open.under({ group, epoch }).provider,
      keyring: open.keyring,
      prng,
      clock,
      serial,
      isPinned: (group, identity) => trust.find(group, identity) !== undefined,
      holds: (group, version) => journal.domainKeys.hasHad(serial, group, version),
      announce: (ckaId) => journal.identities.announce(serial, ckaId),
      remember: (record, trusted) => {
        journal.domainKeys.add(serial, record, trusted);
        const installed = { serial, group: record.group, version: record.version };
        log.info('domain key installed', installed);
        if (trusted !== undefined)
          log.warn('a trusted key waits for the security officer: antipode partition trust-domain-key', installed);
      },
    });
    ofSession.set(name, responder);
    return responder;
  }
}

/** Bytes of a message are views on the receive buffer. */
export function copyOffer({
  serial,
  identity,
  nonce,
  point,
  receiver,
  officer,
  kdfs = [],
}: {
  serial: string;
  identity: Uint8Array;
  nonce: Uint8Array;
  point: Uint8Array;
  receiver?: Uint8Array;
  officer?: Uint8Array;
  kdfs?: readonly string[];
}) {
  return {
    serial,
    identity: new Uint8Array(identity),
    nonce: new Uint8Array(nonce),
    point: new Uint8Array(point),
    ...(receiver?.length ? { receiver: new Uint8Array(receiver) } : {}),
    ...(officer?.length ? { officer: new Uint8Array(officer) } : {}),
    ...(kdfs.length > 0 ? { kdfs: [...kdfs] } : {}),
  };
}
