/**
 * The word of other sites for an active member, as this coordinator sees it (ADR 0048). It names the process for which
 * each site may give its word, and knows when a process has lost it.
 */
import { VOUCH_MS, type Vouchee } from '@antipode/protocol';
import { activeOf, areVouchersCurrent, type Group, isSettled, vouchersOf } from '../model.ts';
import type { Detector } from './detector.ts';
import type { JournalBook } from './journals.ts';
import { RATE_BOUND, surelyOver } from './leases.ts';

interface Ports {
  readonly detector: Pick<Detector, 'view' | 'refused'>;
  readonly journals: Pick<JournalBook, 'runOf'>;
}

/**
 * The processes for which a site may vouch. None of a site that is down, and none that is silent while another process of
 * the site asks to be admitted: that one must not wait for ever.
 */
export function voucheesFor(
  site: string,
  groups: readonly Group[],
  { detector, journals }: Ports,
): Omit<Vouchee, '$typeName'>[] {
  return groups.flatMap((group) => {
    const active = activeOf(group)?.site;
    if (active === undefined || !isSettled(group) || group.owner !== active) return [];
    const status = detector.view(active)?.status;
    const isFollowed = status !== 'up' && detector.refused(active) !== undefined;
    if (!grantedVouchers(group).includes(site) || status === 'down' || isFollowed) return [];
    const run = journals.runOf(active);
    return run === undefined ? [] : [{ group: group.spec.name, epoch: group.epoch, site: active, run }];
  });
}

/** The sites that an active member may ask. Nobody while the voters change: see {@link Group.vouchers}. */
export const grantedVouchers = (group: Group): readonly string[] =>
  areVouchersCurrent(group) ? vouchersOf(group) : [];

/**
 * How long ago each site that may vouch for the active member last did so, or may have: by its last heartbeat. Undefined
 * for a site that is not up.
 */
export function lastWords(
  group: Group,
  { detector, nowMs }: { detector: Pick<Detector, 'view'>; nowMs: number },
): (number | undefined)[] {
  const vouchers = activeOf(group)?.site === group.owner ? vouchersOf(group) : [];
  return vouchers.map((site) => {
    const view = detector.view(site);
    return view?.status === 'up' && view.vouching !== undefined
      ? view.vouching.silentMs + Math.max(0, nowMs - view.lastMs)
      : undefined;
  });
}

/**
 * Whether the process that was heard last under the name of a site may still hold a lease by the word of others. Not if
 * one of them, whose word it needs, has lost sight of it for long enough. A site that is not heard proves nothing.
 */
export function mayBeVouchedFor(
  site: string,
  groups: readonly Group[],
  { detector, journals }: { detector: Pick<Detector, 'view'>; journals: Ports['journals'] },
): boolean {
  const run = journals.runOf(site);
  return groups.some((group) => {
    const vouchers = activeOf(group)?.site === site ? vouchersOf(group) : [];
    if (vouchers.length === 0) return false;
    return !vouchers.some((voucher) => {
      const { status, vouching } = detector.view(voucher) ?? {};
      if (status !== 'up' || vouching === undefined) return false;
      const isBound = vouching.vouchees.some((one) => one.group === group.spec.name && one.run === run);
      return !isBound && vouching.silentMs / RATE_BOUND > surelyOver(VOUCH_MS);
    });
  });
}
