/**
 * Makes a new version of a domain key in a partition of this site and brings it to every member. A version is never
 * made twice. A repeated order gets the recorded outcome, and a member that missed a version gets the next one.
 */
import { distributeDomainKey, type ExchangeTransport } from '@antipode/hsm-core';
import { type DistributeDomainKeyRequest, type DistributeDomainKeyResponseSchema, fenceOf } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OpenPartition, Partition } from '../partition/partition.ts';
import { type Site, seatOf } from '../site.ts';
import { copyOffer, type Exchanges } from './exchange.ts';

const EXCHANGE_TIMEOUT_MS = 30_000;

interface Outcome {
  readonly confirmedSerials: string[];
  readonly failures: { serial: string; code: string; message: string }[];
}

/** @throws EPOCH_STALE, NOT_FOUND, ROLE_REFUSED, APPROVAL_REQUIRED, and what the partition throws */
export async function distribute(
  { site: here, exchanges }: { site: Site; exchanges: Exchanges },
  request: DistributeDomainKeyRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof DistributeDomainKeyResponseSchema>> {
  const fence = fenceOf(request);
  const { group } = fence;
  const { journal, trust, prng, log, authority } = here;
  const { version } = request;
  const recorded = (): Outcome | undefined => {
    const outcome = journal.drills.distribution(group, version);
    return outcome === undefined ? undefined : withTheMissed(JSON.parse(outcome) as Outcome, request);
  };
  const before = recorded();
  if (before !== undefined) return before;
  const { distributorSerial } = request;
  const partition =
    distributorSerial === '' ? seatOf(here, group).partition : here.partitions.bySerial(distributorSerial);
  const mayAct = (): void => {
    authority.asSite(fence);
    if (distributorSerial !== '') {
      here.enrolments.require(fence, [{ site: here.name, serial: distributorSerial }]);
      checkDistributor(here, group, partition);
      return;
    }
    if (trust.distributors(group).length > 0)
      throw new AntipodeError('ROLE_REFUSED', `only a distributor brings domain keys to group ${group}, not a member`, {
        details: { group },
      });
    authority.asKeyMaker(fence);
  };
  mayAct();
  here.enrolments.require(
    fence,
    request.members.map(({ site, serial }) => ({ site: site?.site ?? '', serial })),
  );
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
            provider: open.under(fence).provider,
            keyring: open.keyring,
            prng,
            serial: open.description.serial,
            group,
            version,
            members: request.members.map(({ site, serial }) =>
              transportTo(
                { here, exchanges },
                {
                  site: site?.site ?? '',
                  address: site?.address ?? '',
                  serial,
                  version,
                  request,
                  birthplace: { partition, open },
                  mayAct,
                },
              ),
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

/**
 * The recorded outcome, for partitions that the order which made the version did not name: a site that was away then, or
 * members that the coordinator knows only now. They do not hold the version, and nobody brings it to them any more.
 */
function withTheMissed(
  { confirmedSerials, failures }: Outcome,
  { version, members }: Pick<DistributeDomainKeyRequest, 'version' | 'members'>,
): Outcome {
  const told = new Set([...confirmedSerials, ...failures.map(({ serial }) => serial)]);
  const missed = members.filter(({ serial }) => !told.has(serial));
  const message = `version ${version} was made before, for other partitions; the next version replaces it`;
  return {
    confirmedSerials,
    failures: [...failures, ...missed.map(({ serial }) => ({ serial, code: 'EXCHANGE_REFUSED', message }))],
  };
}

/** Pinned as such by the site itself: no order makes a distributor of a partition. */
function checkDistributor({ trust }: Site, group: string, { settings, serial }: Partition): void {
  if (settings.role === 'distributor' && trust.distributors(group).some((one) => one.serial === serial)) return;
  throw new AntipodeError(
    'ROLE_REFUSED',
    `partition ${settings.name} is not pinned as a distributor of group ${group} at its own site`,
    {
      details: { group, role: settings.role },
      hint: 'Declare the partition with `role: distributor` in agent.yaml, and run `antipode peer trust --distributor-peer` at every site of the group, including its own.',
    },
  );
}

function transportTo(
  { here, exchanges }: { here: Site; exchanges: Exchanges },
  options: {
    site: string;
    address: string;
    serial: string;
    version: number;
    request: DistributeDomainKeyRequest;
    birthplace: { partition: Partition; open: OpenPartition };
    /** Asked right before a key is installed at this site (I2): a member may take half a minute to answer. */
    mayAct: () => void;
  },
): ExchangeTransport {
  const { site, address, serial, request, birthplace, mayAct } = options;
  const fence = fenceOf(request);
  if (serial === birthplace.partition.serial) {
    // The birthplace receives its own key the same way; its turn is taken already.
    const responder = exchanges.responder(birthplace.open, fence);
    return {
      serial,
      begin: (message) => responder.begin(message),
      complete: async (message) => {
        mayAct();
        return responder.complete(message);
      },
    };
  }
  if (site === here.name) {
    const partition = here.partitions.bySerial(serial);
    return {
      serial,
      begin: (message) => partition.use((open) => exchanges.responder(open, fence).begin(message)),
      complete: (message) =>
        partition.use(async (open) => {
          mayAct();
          const receipt = await exchanges.responder(open, fence).complete(message);
          await open.refreshKeyring();
          return receipt;
        }),
    };
  }
  const peer = here.peers.client({ site, address });
  return {
    serial,
    begin: async (message) => {
      const { offer, signature } = await peer.beginExchange(
        { ...message, responderSerial: serial, fence },
        { timeoutMs: EXCHANGE_TIMEOUT_MS },
      );
      if (offer === undefined)
        throw new AntipodeError('EXCHANGE_REFUSED', 'the answer has no offer', { details: { serial } });
      return { offer: copyOffer(offer), signature: new Uint8Array(signature) };
    },
    complete: async (message) => {
      const { checkTag, signature } = await peer.completeExchange(
        { ...message, fence },
        { timeoutMs: EXCHANGE_TIMEOUT_MS },
      );
      return { checkTag: new Uint8Array(checkTag), signature: new Uint8Array(signature) };
    },
  };
}
