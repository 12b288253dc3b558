/**
 * Finds out at the target itself whether its promotion loses a generation. A coordinator that lies could call any
 * promotion harmless. So the target asks the other members of the group, by its own pins.
 *
 * A member is heard when it answers and has persisted the epoch of the promotion. From then on no order of an earlier
 * tenure changes what it holds. A promotion needs no approval in two cases, if nobody who answers holds a later
 * generation:
 * - Every other member is heard. One may be silent: the site whose captures the target has applied last, the source. What
 *   only the source holds was never acknowledged.
 * - The source is heard, and no tenure lies between its own and this one. Nobody can hold more than it has captured.
 */
import { type ApprovalRequest, type Fence, isNewer, parseApprovalBytes } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { newestHere, type Site } from '../site.ts';
import { usedBefore } from './approvals.ts';

/** As long as a probe takes on the longest link: nobody serves meanwhile. */
const ANSWER_MS = 3_000;

interface Standing {
  readonly site: string;
  /** The number of the newest generation there that is later than ours; undefined if none is. */
  readonly ahead: bigint | undefined;
  /** It has persisted the epoch of the promotion. */
  readonly isFinal: boolean;
  /** Operations that have used approvals of this order there, by nonce. */
  readonly used: ReadonlyMap<string, string>;
}

/**
 * @throws APPROVAL_REQUIRED and the other codes of an approval, if the promotion loses a generation or may lose one, and
 * no approval with the order allows it
 */
export async function guardPromotion(
  site: Site,
  { fence, serial, signal }: { fence: Fence; serial: string; signal?: AbortSignal | undefined },
): Promise<void> {
  const { group, epoch, approvals: given } = fence;
  if (!site.approvals.isGuarded(group)) return;
  const mine = await newestHere(site, { group, serial });
  const others = site.enrolments.otherMembers(group);
  const nonces = noncesOf(given?.approvals ?? []);
  const told = await Promise.all(
    others.map((other) => standingOf(site, { group, epoch, other, mine, nonces, signal })),
  );
  const answers = told.filter((one) => one !== undefined);
  const source = mine && (await sourceOf(site, group, mine.digest));
  const ahead = answers.filter((one) => one.ahead !== undefined);
  const heard = new Set(answers.filter(({ isFinal }) => isFinal).map((one) => one.site));
  const isWhole = mine !== undefined && source !== undefined && heard.has(source) && epoch === mine.epoch + 1n;
  const silent = isWhole ? [] : others.filter((other) => other !== source && !heard.has(other));
  if (ahead.length === 0 && silent.length === 0) return;
  const number = mine?.number ?? 0n;
  const lost = ahead.reduce((most, one) => max(most, max(1n, one.ahead! - number)), 0n);
  const holders = ahead.map((one) => one.site).join(', ');
  const what = [
    `the promotion of site ${site.name} in group ${group}`,
    ...(lost > 0n ? [`which loses ${lost} generations that site ${holders} has`] : []),
    ...(silent.length > 0 ? [`without hearing site ${silent.join(', ')}`] : []),
  ].join(', ');
  const demand = {
    action: 'failover',
    group,
    epoch,
    partition: { site: site.name, serial },
    scope: `promote ${serial} ${epoch}`,
    what,
    beyond: ({ limits }: ApprovalRequest) =>
      lost > BigInt(limits.losesAtMost)
        ? `${lost} generations would be lost, at most ${limits.losesAtMost} may be`
        : number < BigInt(limits.keepsGeneration)
          ? `site ${site.name} has generation ${number}, expected ${limits.keepsGeneration} or a later one`
          : silent.some((one) => !limits.withoutHearing.includes(one))
            ? `site ${silent.join(', ')} is silent, and only these may be: ${limits.withoutHearing.join(', ') || 'none'}`
            : undefined,
  } as const;
  const found = site.approvals.find(demand, given);
  if (found === undefined || given === undefined) return;
  // Another site may have used it for another operation, which is not in the journal here.
  for (const { used } of answers) {
    const operation = used.get(found.request.nonce);
    if (operation !== undefined && operation !== given.operationId) throw usedBefore(found.digest, operation);
  }
  site.approvals.spend(demand, { ...found, operation: given.operationId });
}

async function standingOf(
  site: Site,
  {
    group,
    epoch,
    other,
    mine,
    nonces,
    signal,
  }: {
    group: string;
    epoch: bigint;
    other: string;
    mine: { epoch: bigint; number: bigint } | undefined;
    nonces: string[];
    signal: AbortSignal | undefined;
  },
): Promise<Standing | undefined> {
  const address = site.mender.addressOf(group, other);
  if (address === '') return undefined;
  try {
    const answer = await site.peers
      .client({ site: other, address })
      .reportStanding({ group, nonces }, { timeoutMs: ANSWER_MS, ...(signal === undefined ? {} : { signal }) });
    const { newest, used } = answer;
    const theirs = newest && { epoch: newest.epoch, number: newest.generation };
    return {
      site: other,
      ahead: isNewer(theirs, mine) ? theirs!.number : undefined,
      isFinal: answer.epoch >= epoch,
      used: new Map(used.map(({ nonce, operationId }) => [nonce, operationId])),
    };
  } catch (thrown) {
    // An error of any kind leaves open what that site holds.
    if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
    return undefined;
  }
}

/** The site that has captured it; undefined where it is not pinned any more. */
async function sourceOf({ store, trust }: Site, group: string, digest: string): Promise<string | undefined> {
  const { signerSha256 } = await store.open(digest);
  return trust.find(group, signerSha256)?.site;
}

/** Of what can be read: the rest is refused later, with its reason. */
function noncesOf(approvals: readonly { request: Uint8Array }[]): string[] {
  return approvals.flatMap(({ request }) => {
    try {
      return [parseApprovalBytes(request).nonce];
    } catch {
      return [];
    }
  });
}

const max = (one: bigint, other: bigint): bigint => (one > other ? one : other);
