/**
 * The outcome of an operation. A coordinator of an earlier release does not fill the typed field. Then the JSON text of
 * the operation's state has the same, and this version of the command must still read it.
 */
import type { GenerationRef, Operation } from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import { plain } from './output.ts';

type Told = Pick<Operation, 'outcome' | 'result'>;

/** A generation by all of its names: another one may have its number. */
export interface GenerationName {
  readonly epoch: number;
  readonly number: number;
  readonly manifestDigest: string;
}

export interface SiteCode {
  readonly site: string;
  readonly code: string;
}

export interface Captured extends GenerationName {
  readonly isNew: boolean;
  readonly sealedObjects: number;
}

export interface FailedOver {
  readonly from: string;
  readonly to: string;
  readonly epoch: number;
  readonly recoveryTimeMs: number;
  readonly proved: number;
  readonly lost: readonly GenerationName[];
  /** Sites that were chosen before and could not serve. */
  readonly excluded: readonly SiteCode[];
  readonly reason: string;
  /** Why this site; empty from a coordinator that does not say. */
  readonly chosenFor?: string;
}

export interface Reseated {
  readonly activeSite: string;
  readonly epoch: number;
  readonly seated: readonly string[];
  readonly leftAside: readonly SiteCode[];
}

const nameOf = (ref: GenerationRef | undefined): GenerationName => ({
  epoch: Number(ref?.epoch ?? 0n),
  number: Number(ref?.generation ?? 0n),
  manifestDigest: hex(ref?.manifestDigest ?? new Uint8Array()),
});

const siteCodes = (all: readonly { site: string; errorCode: string }[]): SiteCode[] =>
  all.map(({ site, errorCode }) => ({ site, code: errorCode }));

/** Of a capture that ended well. */
export function captured({ outcome, result }: Told): Captured {
  if (outcome.case !== 'capture') return JSON.parse(result) as Captured;
  const { generation, isNew, sealedObjects } = outcome.value;
  return { ...nameOf(generation), isNew, sealedObjects };
}

/** Of a failover that ended well. */
export function failedOver({ outcome, result }: Told): FailedOver {
  if (outcome.case !== 'failover') return JSON.parse(result) as FailedOver;
  const {
    fromSite,
    toSite,
    epoch,
    recoveryTimeMs = 0n,
    provedObjects = 0,
    lost,
    passedOver,
    reason,
    chosenFor,
  } = outcome.value;
  return {
    from: fromSite,
    to: toSite,
    epoch: Number(epoch),
    recoveryTimeMs: Number(recoveryTimeMs),
    proved: provedObjects,
    lost: lost.map(nameOf),
    excluded: siteCodes(passedOver),
    reason,
    ...(chosenFor === '' ? {} : { chosenFor }),
  };
}

/** Of a group that was seated again. */
export function reseated({ outcome, result }: Told): Reseated {
  if (outcome.case !== 'reseat') return JSON.parse(result) as Reseated;
  const { activeSite, epoch, seatedSites, leftAside } = outcome.value;
  return { activeSite, epoch: Number(epoch), seated: seatedSites, leftAside: siteCodes(leftAside) };
}

/** One line for people, whatever the kind. */
export const outcomeText = ({ outcome, result }: Told): string =>
  outcome.case === undefined ? result : JSON.stringify(outcome.value, plain);
