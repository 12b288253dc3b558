/** Sites as operators see them. */
import type { ForgottenSiteSchema, SiteObservationSchema, SiteStateSchema } from '@antipode/protocol';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { mutenessesNow, type RefusedAgent, type SiteView, stateWordOf } from '../../sites/detector.ts';
import type { LateCalls } from '../../sites/forgotten.ts';
import type { ForgottenSiteRecord } from '../../store/tables/sites/forgotten-sites.ts';

export function siteState(
  view: SiteView,
  {
    nowMonotonicMs,
    nowMs,
    refused,
    others = [],
    revoked = [],
  }: {
    nowMonotonicMs: number;
    /** On the timeline. */
    nowMs: number;
    refused?: RefusedAgent | undefined;
    /** All sites, which say whom they reach. */
    others?: readonly SiteView[];
    /** The entries of the list of revoked certificates that name it, in sentences. */
    revoked?: readonly string[];
  },
): MessageInitShape<typeof SiteStateSchema> {
  const ago = (atMs: number): bigint => BigInt(Math.max(0, Math.round(nowMonotonicMs - atMs)));
  const mutes = mutenessesNow(view);
  return {
    stateAgeMs: ago(
      mutes.length === 0 ? (view.sinceMs ?? view.lastMs) : Math.min(...mutes.map(({ sinceMs }) => sinceMs)),
    ),
    refutations: view.refutations ?? 0,
    observations: observationsOf(view, { others, ago }),
    lostPartitions: [...(view.hsmLostMs ?? [])].map(([serial, sinceMs]) => ({
      serial,
      ageMs: BigInt(Math.max(0, Math.round(nowMs - sinceMs))),
    })),
    site: view.site,
    address: view.address,
    state: stateWordOf(view),
    reason: mutes.length === 0 ? view.reason : mutes.map(({ message }) => message).join('; '),
    mutenesses: mutes.map(({ kind, partition, serial, errorCode, message, sinceMs, hint }) => ({
      kind,
      partition,
      serial,
      errorCode,
      message,
      ageMs: ago(sinceMs),
      hint,
    })),
    ...(view.lastWallMs === undefined ? {} : { silenceMs: BigInt(Math.round(nowMonotonicMs - view.lastMs)) }),
    version: view.state?.version ?? '',
    partitions: view.state?.partitions ?? [],
    ...(refused === undefined
      ? {}
      : {
          refusedAgent: {
            address: refused.address,
            peer: refused.peer,
            sinceMs: BigInt(Math.round(nowMonotonicMs - refused.sinceMs)),
            lastMs: BigInt(Math.round(nowMonotonicMs - refused.lastMs)),
            heartbeats: refused.heartbeats,
          },
        }),
    ...(view.state?.approvalRules?.length ? { approvalRules: view.state.approvalRules } : {}),
    revoked: [...revoked],
    ...(view.state?.revocations === undefined ? {} : { revocations: view.state.revocations }),
    ...(view.state?.certificate === undefined ? {} : { certificate: view.state.certificate }),
  };
}

/** A retired site, with the agent that calls under its name all the same. */
export function forgottenSite(
  { site, operator, atMs, address }: ForgottenSiteRecord,
  calls: LateCalls | undefined,
  { nowMs, toWallMs }: { nowMs: number; toWallMs: (atMs: number) => number },
): MessageInitShape<typeof ForgottenSiteSchema> {
  const ago = (fromMs: number): bigint => BigInt(Math.max(0, Math.round(nowMs - fromMs)));
  return {
    site,
    operator,
    forgottenMs: BigInt(toWallMs(atMs)),
    address,
    ...(calls === undefined
      ? {}
      : {
          calling: {
            address: calls.address,
            peer: calls.peer,
            sinceMs: ago(calls.sinceMs),
            lastMs: ago(calls.lastMs),
            heartbeats: calls.heartbeats,
          },
        }),
  };
}

/**
 * The views that the sites that are heard have of a site. They come from the last round of probes, if there was one for
 * this silence. Otherwise they come from heartbeats, which are some seconds older.
 */
function observationsOf(
  { site, status, looks = [] }: SiteView,
  { others, ago }: { others: readonly SiteView[]; ago: (atMs: number) => bigint },
): MessageInitShape<typeof SiteObservationSchema>[] {
  return others
    .filter((observer) => observer.site !== site && observer.status === 'up')
    .flatMap((observer) => {
      const told = observer.observations?.find((one) => one.site === site);
      const look = status === 'up' ? undefined : looks.find((one) => one.observer === observer.site);
      if (look?.reached !== undefined) {
        const isSame = told?.reached === look.reached;
        const sinceMs = isSame ? told.sinceMs + ago(observer.lastMs) : ago(look.atMs);
        return [{ observer: observer.site, reached: look.reached, ageMs: ago(look.atMs), sinceMs }];
      }
      if (told === undefined) return [];
      const { reached, ageMs, sinceMs } = told;
      const sinceHeardMs = ago(observer.lastMs);
      return [{ observer: observer.site, reached, ageMs: ageMs + sinceHeardMs, sinceMs: sinceMs + sinceHeardMs }];
    });
}
