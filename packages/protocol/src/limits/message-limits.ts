/**
 * The size limit of a message, by method: small by default, larger only if its contents need it. A received message is
 * in memory before anybody can look at it.
 */

/** Of a request, on the wire; also what a server buffers of one at most. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** Of a request whose method is not named here: a fence, a generation, some addresses. */
const REQUEST_BYTES_DEFAULT = 256 * 1024;
const REQUEST_BYTES: Readonly<Record<string, number>> = {
  // Filters name objects one by one.
  'SiteAgentService/Capture': REQUEST_BYTES_MAX,
  'SiteAgentService/MatchFilter': REQUEST_BYTES_MAX,
  'OperatorService/CreateGroup': REQUEST_BYTES_MAX,
  // Some 500 bytes for each seat of a site: a thousand seats and more.
  'CoordinatorService/Heartbeat': REQUEST_BYTES_MAX,
  // 10,000 digests.
  'SiteAgentService/PullBlobs': 512 * 1024,
};

/** Of an answer; also what a client buffers of one at most. */
export const RESPONSE_BYTES_MAX = 16 * 1024 * 1024;
/** Of an answer whose method is not named here. */
const RESPONSE_BYTES_DEFAULT = 1024 * 1024;
const RESPONSE_BYTES: Readonly<Record<string, number>> = {
  // Every object that a generation does not protect is named.
  'SiteAgentService/Capture': RESPONSE_BYTES_MAX,
  'SiteAgentService/Scrub': RESPONSE_BYTES_MAX,
  // The filters of all groups.
  'SiteAgentService/TellGroups': RESPONSE_BYTES_MAX,
  // One data object of 8 MiB, and what is batched with it.
  'SiteAgentService/PullBlobs': 9 * 1024 * 1024,
};

export const requestBytesMax = (method: string): number => REQUEST_BYTES[method] ?? REQUEST_BYTES_DEFAULT;

/** Reports for people grow with the number of groups and of what happened. */
export const responseBytesMax = (method: string): number =>
  RESPONSE_BYTES[method] ?? (method.startsWith('OperatorService/') ? RESPONSE_BYTES_MAX : RESPONSE_BYTES_DEFAULT);
