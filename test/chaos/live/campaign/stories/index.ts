/** Every story, in the order in which they are played. */
import { ACTIVE_PAUSED, BLACKOUT, DIVERGENT, ONE_WAY, SITE_CUT } from './active-site.ts';
import { CERTIFICATES_SWAPPED } from './certificates.ts';
import { COORDINATOR_CUT, DATABASE_LOST, QUEUE_LOST } from './coordinators.ts';
import { SITE_LOSS } from './site-loss.ts';
import type { Story } from './story.ts';

export const STORIES: readonly Story[] = [
  SITE_LOSS,
  ACTIVE_PAUSED,
  SITE_CUT,
  ONE_WAY,
  DIVERGENT,
  BLACKOUT,
  COORDINATOR_CUT,
  QUEUE_LOST,
  DATABASE_LOST,
  CERTIFICATES_SWAPPED,
];
