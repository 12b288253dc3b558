/**
 * Domain keys on this site: makes a new version and brings it to every member, and answers the agent that does. A version
 * is never made twice: a repeated order gets the recorded outcome, and who missed a version gets the next one.
 *
 * Who brings domain keys is the site's own pins' to say: a distributor where one is pinned for the group (ADR 0025), else the
 * active member.
 */
import { distributeDomainKey, ExchangeResponder, type ExchangeTransport, fingerprint } from '@antipode/hsm-core';
import {
  type BeginExchangeRequest,
  type CallContext,
  type CompleteExchangeRequest,
  type DistributeDomainKeyRequest,
  type DistributeDomainKeyResponseSchema,
  type Fence,
  fenceOf,
  type Identity,
} from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OpenPartition, Partition } from '../partition/partition.ts';
import { type Site, seatOf } from '../site.ts';

const EXCHANGE_TIMEOUT_MS = 30_000;
/** As long as the responder keeps its half (responder.ts): what is older can only be refused. */
const OPEN_MS_MAX = 60_000;
/** Of one site at one partition. An honest one has a single exchange open; a rogue one must not take everybody's places. */
const OPEN_PER_SITE_MAX = 4;

interface Outcome {
  readonly confirmedSerials: string[];
  readonly failures: { serial: string; code: string; message: string }[];
}

interface OpenExchange {
  readonly group: string;
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
  readonly #responders = new WeakMap<object, ExchangeResponder>();

  constructor(site: Site) {
    this.#site = site;
  }

  async distribute(
    request: DistributeDomainKeyRequest,
    signal?: AbortSignal,
  ): Promise<MessageInitShape<typeof DistributeDomainKeyResponseSchema>> {
    const fence = fenceOf(request);
    const { group } = fence;
    const { journal, trust, prng, log, authority } = this.#site;
    const { version } = request;
    const recorded = (): Outcome | undefined => {
      const outcome = journal.drills.distribution(group, version);
      return outcome === undefined ? undefined : (JSON.parse(outcome) as Outcome);
    };
    const before = recorded();
    if (before !== undefined) return before;
    const { distributorSerial } = request;
    const partition =
      distributorSerial === ''
        ? seatOf(this.#site, group).partition
        : this.#site.partitions.bySerial(distributorSerial);
    const mayAct = (): void => {
      authority.inForce(fence);
      if (distributorSerial !== '') {
        this.#checkDistributor(group, partition);
        return;
      }
      if (trust.distributors(group).length > 0)
        throw new AntipodeError(
          'ROLE_REFUSED',
          `only a distributor brings domain keys to group ${group}, not a member`,
          { details: { group } },
        );
      authority.asKeyMaker(fence);
    };
    mayAct();
    const unknown: Outcome = {
      confirmedSerials: [],
      failures: request.members.map(({ serial }) => ({
        serial,
        code: 'EXCHANGE_REFUSED',
        message: 'the distribution was interrupted; the next version replaces this one',
      })),
    };
    return partition.use(
      (open) =>
        inSpan(
          'distribute domain key',
          { 'antipode.group': group, 'antipode.domain_key_version': version },
          async (): Promise<Outcome> => {
            // The same order may have come twice, and a higher epoch meanwhile.
            const meanwhile = recorded();
            if (meanwhile !== undefined) return meanwhile;
            mayAct();
            journal.drills.setDistribution(group, version, JSON.stringify(unknown));
            const { confirmedSerials, failures } = await distributeDomainKey({
              provider: open.provider,
              keyring: open.keyring,
              prng,
              serial: open.description.serial,
              group,
              version,
              members: request.members.map(({ site, serial }) =>
                this.#transport({
                  site: site?.site ?? '',
                  address: site?.address ?? '',
                  serial,
                  version,
                  request,
                  birthplace: { partition, open },
                }),
              ),
              isPinned: (identity, { serial }) => {
                const pin = trust.find(group, identity);
                const site = request.members.find((member) => member.serial === serial)?.site?.site;
                return pin !== undefined && pin.role !== 'distributor' && pin.serial === serial && pin.site === site;
              },
            });
            await open.refreshKeyring();
            const outcome: Outcome = {
              confirmedSerials: [...confirmedSerials],
              failures: failures.map(({ serial, error }) => ({
                serial,
                code: error.code,
                message: error.message.replace(`[${error.code}] `, ''),
              })),
            };
            journal.drills.setDistribution(group, version, JSON.stringify(outcome));
            log.info('domain key distributed', {
              group,
              version,
              confirmed: outcome.confirmedSerials.length,
              failed: outcome.failures.length,
            });
            return outcome;
          },
        ),
      signal,
    );
  }

  async begin(request: BeginExchangeRequest, { identity, signal }: CallContext) {
    const { group, version, exchangeId, responderSerial, offer } = request;
    if (offer === undefined)
      throw new AntipodeError('REQUEST_INVALID', 'offer is missing', { details: { field: 'offer' } });
    const fence = fenceOf(request);
    this.#checkInitiator(fence, { group, caller: identity });
    const partition = this.#site.partitions.bySerial(responderSerial);
    return partition.use(async (open) => {
      this.#checkInitiator(fence, { group, caller: identity });
      this.#checkPin(offer, { group, caller: identity });
      this.#forgetOver(partition, open.provider);
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
      const responder = this.#responder(open);
      const sinceMs = this.#site.clock.monotonicMs();
      const answer = await responder.begin({ exchangeId, group, version, offer: copyOffer(offer) });
      const { provider } = open;
      this.#open.set(exchangeId, { group, caller: identity.name, partition, provider, responder, sinceMs });
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
    // Whatever comes of it, it is over.
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

  /** Pinned as such by the site itself: no order makes a distributor of a partition. */
  #checkDistributor(group: string, { settings, serial }: Partition): void {
    if (settings.role === 'distributor' && this.#site.trust.distributors(group).some((one) => one.serial === serial))
      return;
    throw new AntipodeError(
      'ROLE_REFUSED',
      `partition ${settings.name} is not pinned as a distributor of group ${group} at its own site`,
      {
        details: { group, role: settings.role },
        hint: 'Declare the partition with `role: distributor` in agent.yaml, and run `antipode peer trust --distributor-peer` at every site of the group, including its own.',
      },
    );
  }

  /**
   * Checked, not admitted: only the coordinator's orders raise an epoch, never a peer's. Where a distributor is pinned, its site
   * alone begins an exchange, under whatever tenure is in force.
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
  }

  /**
   * An identity counts from its own site only, and makes domain keys as a member, or as a distributor where there is one. What is
   * pinned at all, the responder checks.
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

  /** Those that nobody completed in time, and those whose session has ended. */
  #forgetOver(partition: Partition, provider: object): void {
    for (const [exchangeId, one] of this.#open)
      if (this.#isOver(one) || (one.partition === partition && one.provider !== provider))
        this.#open.delete(exchangeId);
  }

  #responder(open: OpenPartition): ExchangeResponder {
    const known = this.#responders.get(open.provider);
    if (known !== undefined) return known;
    const { clock, journal, log, prng, trust } = this.#site;
    const { serial } = open.description;
    const responder = new ExchangeResponder({
      provider: open.provider,
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
    this.#responders.set(open.provider, responder);
    return responder;
  }

  #transport(options: {
    site: string;
    address: string;
    serial: string;
    version: number;
    request: DistributeDomainKeyRequest;
    birthplace: { partition: Partition; open: OpenPartition };
  }): ExchangeTransport {
    const { site, address, serial, request, birthplace } = options;
    if (serial === birthplace.partition.serial) {
      // The birthplace receives its own key the same way; its turn is taken already.
      const responder = this.#responder(birthplace.open);
      return {
        serial,
        begin: (message) => responder.begin(message),
        complete: (message) => responder.complete(message),
      };
    }
    if (site === this.#site.name) {
      const partition = this.#site.partitions.bySerial(serial);
      return {
        serial,
        begin: (message) => partition.use((open) => this.#responder(open).begin(message)),
        complete: (message) =>
          partition.use(async (open) => {
            const receipt = await this.#responder(open).complete(message);
            await open.refreshKeyring();
            return receipt;
          }),
      };
    }
    const peer = this.#site.peers.client({ site, address });
    return {
      serial,
      begin: async (message) => {
        const { offer, signature } = await peer.beginExchange(
          { ...message, responderSerial: serial, fence: fenceOf(request) },
          { timeoutMs: EXCHANGE_TIMEOUT_MS },
        );
        if (offer === undefined)
          throw new AntipodeError('EXCHANGE_REFUSED', 'the answer has no offer', { details: { serial } });
        return { offer: copyOffer(offer), signature: new Uint8Array(signature) };
      },
      complete: async (message) => {
        const { checkTag, signature } = await peer.completeExchange(
          { ...message, fence: fenceOf(request) },
          { timeoutMs: EXCHANGE_TIMEOUT_MS },
        );
        return { checkTag: new Uint8Array(checkTag), signature: new Uint8Array(signature) };
      },
    };
  }
}

/** Bytes of a message are views on the receive buffer. */
function copyOffer({
  serial,
  identity,
  nonce,
  point,
  receiver,
  officer,
}: {
  serial: string;
  identity: Uint8Array;
  nonce: Uint8Array;
  point: Uint8Array;
  receiver?: Uint8Array;
  officer?: Uint8Array;
}) {
  return {
    serial,
    identity: new Uint8Array(identity),
    nonce: new Uint8Array(nonce),
    point: new Uint8Array(point),
    ...(receiver?.length ? { receiver: new Uint8Array(receiver) } : {}),
    ...(officer?.length ? { officer: new Uint8Array(officer) } : {}),
  };
}
