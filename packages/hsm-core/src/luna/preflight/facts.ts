/** The facts that a preflight judges, and what both ends say of themselves. */
import type { Examination } from '../jobs/reading.ts';
import type { Vault } from '../parse/archives.ts';
import type { ClientVersion } from '../parse/slots.ts';
import type { CertificateFact } from './certificates.ts';

export type Move = 'clone' | 'backup' | 'restore';

export interface PreflightFacts {
  readonly move: Move;
  /** A partition, or the vault of a restore. */
  readonly from: Examination;
  /** A partition, or the vault of a backup. */
  readonly to: Examination;
  readonly client: ClientVersion | undefined;
  readonly isHaOnly: boolean;
  /** With fewer attempts of a role left, no login is made. */
  readonly attemptsFloor: number;
  /** The list of the vault; undefined if nobody could read it. */
  readonly vault?: Vault;
  /** The backup to be restored. */
  readonly archive?: string;
  /** Of the links between client and appliances. */
  readonly certificates?: readonly CertificateFact[];
  readonly nowMs: number;
}

export interface PreflightRow {
  readonly rule: string;
  readonly verdict: 'fits' | 'will fail' | 'not known';
  readonly found: string;
  /** Where the rule was read. */
  readonly source: string;
  /** Empty where nothing is to be done. A rule that fits, and soon will not, has one. */
  readonly advice: string;
}

export type Judged = Omit<PreflightRow, 'rule' | 'source'>;

export interface Rule {
  readonly rule: string;
  readonly source: string;
  /** Undefined where the rule does not apply to this move. */
  readonly judge: (facts: PreflightFacts) => Judged | undefined;
}

export const fits = (found: string): Judged => ({ verdict: 'fits', found, advice: '' });
export const fails = (found: string, advice: string): Judged => ({ verdict: 'will fail', found, advice });
export const unknown = (found: string, advice: string): Judged => ({ verdict: 'not known', found, advice });

/** Policies of partitions and devices, by their numbers at the vendor. */
export const POLICY = {
  privateCloning: 0,
  privateWrapping: 1,
  secretCloning: 4,
  cpv1: 42,
  restrictedRestore: 55,
} as const;

export const policyOf = ({ policies }: Examination, number: number): number | undefined =>
  policies.values.get(number)?.value;

export const isVault = ({ move, from, to }: PreflightFacts, side: Examination): boolean =>
  (move === 'restore' && side === from) || (move === 'backup' && side === to);

export const partitionsOf = (facts: PreflightFacts): Examination[] =>
  [facts.from, facts.to].filter((side) => !isVault(facts, side));

export const sides = ({ from, to }: PreflightFacts): Examination[] => [from, to];

export const nameOf = ({ slot }: Examination): string => slot.serial;

/** The first side that fails, or that is not known, or the one judgement of both. */
export function worstOf(judged: readonly Judged[]): Judged | undefined {
  const worst = (['will fail', 'not known', 'fits'] as const)
    .map((verdict) => judged.filter((one) => one.verdict === verdict))
    .find(({ length }) => length > 0);
  if (worst === undefined) return undefined;
  const first = worst.find(({ advice }) => advice !== '') ?? worst[0]!;
  return { ...first, found: [...new Set(worst.map(({ found }) => found))].join('; ') };
}

/** Three numbers; undefined if the text is not a version. */
export function firmwareOf(text: string): readonly [number, number, number] | undefined {
  const [, major, minor, patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor), Number(patch)];
}

export function isAtLeast(found: readonly number[], wanted: readonly number[]): boolean {
  const at = wanted.findIndex((number, index) => found[index] !== number);
  return at === -1 || found[at]! > wanted[at]!;
}

/** The cloning protocols that a side speaks; undefined if its firmware or the policy that decides is not known. */
export function protocolsOf(facts: PreflightFacts, side: Examination): ReadonlySet<number> | undefined {
  const firmware = firmwareOf(side.slot.firmware);
  if (firmware === undefined) return undefined;
  if (isVault(facts, side)) {
    return new Set(isAtLeast(firmware, [7, 7, 1]) ? [1, 3] : [1]);
  }
  if (!isAtLeast(firmware, [7, 7])) return new Set([1]);
  const forced = policyOf(side, POLICY.cpv1);
  if (forced === undefined) return undefined;
  if (forced === 1) return new Set([1]);
  const isNewClient = facts.client !== undefined && isAtLeast([facts.client.major, facts.client.minor], [10, 5]);
  return new Set(isAtLeast(firmware, [7, 8]) && isNewClient ? [3, 4] : [3]);
}
