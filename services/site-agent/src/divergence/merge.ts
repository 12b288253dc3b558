/**
 * Brings objects that another site has offered into the token of the active member. An operator has named them one by
 * one. Where this site guards its actions, an approval must name them too: it is a restore into production.
 *
 * The site that offers may lie. Its manifests count only with the signature of its own pinned partition, each object
 * only if the operator named it, and nothing that is in the token or has a name there is touched.
 */
import { mergeObjects, type SealedGeneration } from '@antipode/hsm-core';
import {
  digestOf,
  fenceOf,
  filterRules,
  type MergeDivergenceRequest,
  type MergeDivergenceResponseSchema,
} from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { withRulesOfSite } from '../partition/object-filter.ts';
import { inTenure } from '../partition/partition.ts';
import { newestHere, type Site, seatOf } from '../site.ts';
import { guardRestore } from './restore-guard.ts';

/** As many manifests as a site can have sealed apart in the life of a group, and more. */
const OFFERS_MAX = 256;

/** @throws as a capture and an apply do, PEER_NOT_PINNED, PEER_REFUSED, APPROVAL_REQUIRED and its like */
export async function mergeDivergence(
  site: Site,
  request: MergeDivergenceRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof MergeDivergenceResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch, requestId } = fence;
  const { journal, store } = site;
  const { seat, partition } = seatOf(site, group);
  const mayAct = (): void => void site.authority.asActive({ ...fence, serial: seat.serial });
  mayAct();
  guardRestore(site, { fence, serial: seat.serial, objects: request.objectIds });
  const offers = await pullOffers(site, request, signal);
  return partition.use(
    inTenure(fence, (open) =>
      inSpan('merge divergence', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
        mayAct();
        const head = await newestHere(site, seat);
        if (head === undefined)
          throw new AntipodeError('GENERATION_UNKNOWN', `this site has no generation of group ${group} yet`, {
            details: { group },
          });
        const objects = await mergeObjects({
          provider: open.provider,
          keyring: open.keyring,
          clock: site.clock,
          newest: await store.open(head.digest),
          offers,
          wanted: new Set(request.objectIds),
          filter: withRulesOfSite(filterRules(request.filter), partition.settings),
          journal: {
            openIntents: () => journal.intents.open(seat),
            begin: (intents) => journal.intents.begin(seat, intents),
            commit: (_digest, objectIds) => journal.intents.end(seat, objectIds),
          },
          checkFence: mayAct,
          blobOf: (sha256) => store.blob(sha256),
          adopt: (digest, objectIds) => journal.decisions.adopt(seat, { digest, objectIds }),
        });
        open.replica.forget();
        const merged = objects.filter(({ verdict }) => verdict === 'merged').length;
        // From now on a key without a check value does not count as another key.
        if (merged > 0) journal.decisions.setRestored(seat, []);
        site.log.info('divergent objects merged', {
          group,
          epoch,
          request: requestId,
          from: request.source?.site ?? '',
          wanted: request.objectIds.length,
          merged,
        });
        return {
          objects: objects.map(({ objectId, kind, verdict, code = '' }) => ({
            objectId,
            kind,
            verdict,
            errorCode: code,
          })),
        };
      }),
    ),
    signal,
  );
}

/** @throws REQUEST_INVALID, PEER_REFUSED, and what a pull throws */
async function pullOffers(
  site: Site,
  { source, manifestDigests, fence }: MergeDivergenceRequest,
  signal: AbortSignal | undefined,
): Promise<SealedGeneration[]> {
  const group = fence?.group ?? '';
  if (source === undefined || manifestDigests.length > OFFERS_MAX)
    throw new AntipodeError(
      'REQUEST_INVALID',
      `an order to merge names its source, and ${OFFERS_MAX} manifests at most`,
      {
        details: { field: source === undefined ? 'source' : 'manifest_digests' },
      },
    );
  const offers: SealedGeneration[] = [];
  for (const manifestDigest of manifestDigests) {
    const digest = digestOf({ manifestDigest });
    const { sealed } = await site.transfer.pull({ group, digest, sources: [source], signal });
    const { epoch, number } = sealed.generation;
    const signer = site.trust.find(group, sealed.signerSha256)?.site;
    const refusal =
      signer !== source.site
        ? `it is signed by a partition of site ${signer ?? 'nobody here trusts'}`
        : epoch !== 0n || number !== 0n
          ? `it is generation ${number} of epoch ${epoch}, and not sealed apart`
          : undefined;
    if (refusal !== undefined)
      throw new AntipodeError(
        'PEER_REFUSED',
        `site ${source.site} offers manifest ${digest.slice(0, 16)}: ${refusal}`,
        {
          details: { group, site: source.site, generation: digest },
        },
      );
    offers.push(sealed);
  }
  return offers;
}
