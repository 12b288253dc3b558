/** The option of a group for programs at a site whose lease has lapsed. */
import { LeaseLapse } from '@antipode/protocol';

export const LEASE_LAPSE_HELP =
  'what `antipode run` does with its program when the lease of the active site lapses. Other programs are not touched: they talk to their HSM';

export const leaseLapseOf = (reaction: string): LeaseLapse =>
  reaction === 'stop-serving' ? LeaseLapse.STOP_SERVING : LeaseLapse.KEEP_SERVING;
