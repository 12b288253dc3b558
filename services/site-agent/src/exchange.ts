/**
 * Domain keys on this site: makes a new version and brings it to every member, and answers the agent that does. A version
 * is never made twice: a repeated order gets the recorded outcome, and who missed a version gets the next one.
 */
import { distributeDomainKey, ExchangeResponder, type ExchangeTransport } from '@antipode/hsm-core';
import type {
  BeginExchangeRequest,
  CompleteExchangeRequest,
  DistributeDomainKeyRequest,
  DistributeDomainKeyResponseSchema,
} from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OpenPartition, Partition } from './partitions.ts';
import { fenceOf, type Site, seatOf } from './site.ts';

const EXCHANGE_TIMEOUT_MS = 30_000;

interface Outcome {
  readonly confirmedSerials: string[];
  readonly failures: { serial: string; code: string; message: string }[];
}

/** Exchanges that are open at this site, by id: the second half must meet the session objects of the first. */
export class Exchanges {
  readonly #site: Site;
  readonly #open = new Map<string, { partition: Partition; provider: object; responder: ExchangeResponder }>();
  readonly #responders = new WeakMap<object, ExchangeResponder>();

  constructor(site: Site) {
    this.#site = site;
  }

  async distribute(
    request: DistributeDomainKeyRequest,
  ): Promise<MessageInitShape<typeof DistributeDomainKeyResponseSchema>> {
    const { group, owner } = fenceOf(request);
    const { journal, pins, prng, log } = this.#site;
    const { version } = request;
    const recorded = journal.distribution(group, version);
    if (recorded !== undefined) return JSON.parse(recorded) as Outcome;
    const { seat, partition } = seatOf(this.#site, group);
    if (seat.role !== 'active' || owner !== this.#site.name) {
      throw new AntipodeError(
        'ROLE_REFUSED',
        `this site is ${seat.role} in group ${group}, the active member makes domain keys`,
        { details: { group, role: seat.role } },
      );
    }
    const unknown: Outcome = {
      confirmedSerials: [],
      failures: request.members.map(({ serial }) => ({
        serial,
        code: 'EXCHANGE_REFUSED',
        message: 'the distribution was cut short; the next version replaces it',
      })),
    };
    journal.setDistribution(group, version, JSON.stringify(unknown));
    const outcome = await partition.use((open) =>
      inSpan(
        'distribute domain key',
        { 'antipode.group': group, 'antipode.domain_key_version': version },
        async (): Promise<Outcome> => {
          const { confirmedSerials, failures } = await distributeDomainKey({
            provider: open.provider,
            keyring: open.keyring,
            prng,
            serial: seat.serial,
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
            isPinned: (identity) => identity === open.keyring.identity.sha256 || pins.isPinned(group, identity),
          });
          await open.refreshKeyring();
          return {
            confirmedSerials: [...confirmedSerials],
            failures: failures.map(({ serial, error }) => ({
              serial,
              code: error.code,
              message: error.message.replace(`[${error.code}] `, ''),
            })),
          };
        },
      ),
    );
    journal.setDistribution(group, version, JSON.stringify(outcome));
    log.info('domain key distributed', {
      group,
      version,
      confirmed: outcome.confirmedSerials.length,
      failed: outcome.failures.length,
    });
    return outcome;
  }

  async begin(request: BeginExchangeRequest) {
    const { group, version, exchangeId, responderSerial, offer } = request;
    if (offer === undefined)
      throw new AntipodeError('REQUEST_INVALID', 'offer is missing', { details: { field: 'offer' } });
    // Checked, not admitted: only the coordinator's orders raise an epoch, never a peer's.
    const fence = fenceOf(request);
    if (fence.group !== group)
      throw new AntipodeError('REQUEST_INVALID', 'the fence is of another group', {
        details: { field: 'fence.group' },
      });
    this.#site.fences.check(group, fence.epoch);
    const partition = this.#site.partitions.bySerial(responderSerial);
    return partition.use(async (open) => {
      const responder = this.#responder(open);
      const answer = await responder.begin({ exchangeId, group, version, offer: copyOffer(offer) });
      this.#open.set(exchangeId, { partition, provider: open.provider, responder });
      return answer;
    });
  }

  async complete({ exchangeId, wrappedKey, signature }: CompleteExchangeRequest) {
    const exchange = this.#open.get(exchangeId);
    this.#open.delete(exchangeId);
    if (exchange === undefined)
      throw new AntipodeError('EXCHANGE_REFUSED', 'no such exchange is open', { details: { exchangeId } });
    return exchange.partition.use(async (open) => {
      if (open.provider !== exchange.provider)
        throw new AntipodeError('EXCHANGE_REFUSED', 'the HSM session of the exchange has ended', {
          details: { exchangeId },
        });
      const receipt = await exchange.responder.complete({
        exchangeId,
        wrappedKey: new Uint8Array(wrappedKey),
        signature: new Uint8Array(signature),
      });
      await open.refreshKeyring();
      return receipt;
    });
  }

  #responder(open: OpenPartition): ExchangeResponder {
    const known = this.#responders.get(open.provider);
    if (known !== undefined) return known;
    const { clock, journal, log, pins, prng, partitions } = this.#site;
    const { serial } = open.description;
    const responder = new ExchangeResponder({
      provider: open.provider,
      keyring: open.keyring,
      prng,
      clock,
      serial,
      isPinned: (group, identity) =>
        partitions.all.some(({ identitySha256 }) => identitySha256 === identity) || pins.isPinned(group, identity),
      holds: (group, version) =>
        journal.domainKeys(serial).some((record) => record.group === group && record.version === version),
      remember: (record) => {
        journal.addDomainKey(serial, record);
        log.info('domain key installed', { serial, group: record.group, version: record.version });
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
        const { checkTag, signature } = await peer.completeExchange(message, { timeoutMs: EXCHANGE_TIMEOUT_MS });
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
}: {
  serial: string;
  identity: Uint8Array;
  nonce: Uint8Array;
  point: Uint8Array;
}) {
  return { serial, identity: new Uint8Array(identity), nonce: new Uint8Array(nonce), point: new Uint8Array(point) };
}
