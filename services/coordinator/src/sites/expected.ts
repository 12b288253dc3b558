/**
 * A new leader has heard nobody. Until a site has reported, its silence says nothing: not that it agrees with the
 * database, not that it waits for nobody, and not that it is lost. Pure.
 */
import type { Detector, SiteView } from './detector.ts';

/** Whether this leader has not heard the site yet, and has not missed it for long enough to suspect it. */
export const isExpected = (view: SiteView | undefined): boolean =>
  view?.status === 'unknown' && view.state === undefined;

/** Whether this leader has never heard the site, and the site is not down either. Then it may still be heard. */
export const mayBeHeard = (view: SiteView | undefined): boolean =>
  isExpected(view) || (view?.status === 'suspect' && view.state === undefined);

/** Whether a site does not call, although this leader has led for long enough to hear it. */
export const isSilent = (detector: Pick<Detector, 'view' | 'isUp'>, site: string): boolean =>
  !detector.isUp(site) && !isExpected(detector.view(site));
