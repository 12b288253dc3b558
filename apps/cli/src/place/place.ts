/**
 * Where the clients of a group must go: as the coordinator says, or, while none answers, as the agent of this site last
 * heard (ADR 0037).
 */
import {
  type Client,
  createClient,
  isUnreachable,
  type LastKnownResponse,
  type LeaderFinder,
  OperatorService,
  type ResolveResponse,
  ResolverService,
} from '@antipode/protocol';
import { hasCode } from '@antipode/runtime';
import { leaderFinder, noAnswer, type OperatorConfig, openTls } from '../operator-connection.ts';
import { duration } from '../output.ts';
import { tokenUri } from './pkcs11-uri.ts';

export interface Place {
  readonly group: string;
  readonly site: string;
  readonly module: string;
  readonly tokenLabel: string;
  readonly serial: string;
  readonly epoch: bigint;
  /** `up`, `suspect`, `down` or `unknown`. */
  readonly siteState: string;
  /** Code of the error that keeps its partition from being used; empty when it is open. */
  readonly partitionErrorCode: string;
  /** `coordinator main` or `site a`. */
  readonly answeredBy: string;
  /** Whether that is a coordinator that leads. */
  readonly isLeader: boolean;
  /** The database did not answer. The leader tells what it read last, and what the agents say since. */
  readonly isWithoutDatabase?: true;
  /** How old the answer is; undefined where nobody knows. */
  readonly ageMs: number | undefined;
  /** The site that answers serves the group itself, and goes on by the word of these sites. */
  readonly vouched?: { readonly by: readonly string[]; readonly missing: readonly string[]; readonly leaseMs: number };
}

/** The reasons why a client is possibly not served there now. Empty if there are none. */
export function doubtsAbout(place: Place): string[] {
  const { site, siteState, partitionErrorCode, isLeader, answeredBy, ageMs } = place;
  const ofAgent = answeredBy.startsWith('site ');
  const age = ageMs === undefined ? 'before its last restart' : `${duration(ageMs)} ago`;
  return [
    ...(ofAgent
      ? [
          place.vouched === undefined
            ? `no coordinator answers, and ${answeredBy} heard this ${age}`
            : withoutCoordinators(place),
        ]
      : []),
    ...(isLeader || ofAgent ? [] : ['this coordinator does not lead, so it can be wrong about the site']),
    ...(place.isWithoutDatabase === true
      ? ['the database does not answer, so the coordinator goes by its last reading and by what the sites say']
      : []),
    ...(siteState === 'up' ? [] : [`site ${site} is ${siteState || 'unknown'}`]),
    ...(partitionErrorCode === ''
      ? []
      : [
          `its partition ${siteState === 'up' ? 'cannot' : 'could not'} be used${siteState === 'up' ? '' : ' when it was last heard'}: ${partitionErrorCode}`,
        ]),
  ];
}

function withoutCoordinators({ answeredBy, vouched }: Place): string {
  const { by = [], missing = [], leaseMs = 0 } = vouched ?? {};
  const end = leaseMs > 0 ? `ends ${duration(leaseMs)} from now` : 'has run out';
  return missing.length === 0
    ? `no coordinator answers, and ${answeredBy} goes on without one, vouched for by ${by.join(', ')} for ${duration(leaseMs)} from now at least`
    : `no coordinator answers, and ${answeredBy} is not vouched for by ${missing.join(', ')}: its lease ${end}`;
}

/**
 * The environment of a program. The last two are read by the PKCS#11 engine of libp11 and by pkcs11-provider, so that a
 * program that uses OpenSSL needs no setting of its own.
 */
export function environmentOf(place: Place): Record<string, string> {
  return {
    ANTIPODE_GROUP: place.group,
    ANTIPODE_SITE: place.site,
    ANTIPODE_EPOCH: String(place.epoch),
    ANTIPODE_MODULE: place.module,
    ANTIPODE_TOKEN_LABEL: place.tokenLabel,
    ANTIPODE_TOKEN_SERIAL: place.serial,
    ANTIPODE_URI: tokenUri(place),
    PKCS11_MODULE_PATH: place.module,
    PKCS11_PROVIDER_MODULE: place.module,
  };
}

/** Lines that a POSIX shell reads as assignments, whatever the values hold. */
export const shellLines = (environment: Readonly<Record<string, string>>): string =>
  Object.entries(environment)
    .map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'`)
    .join('\n');

/** How long the coordinator is waited for where an agent can be asked next. */
const COORDINATOR_MS_MAX = 2_000;

/** Asks again and again over the same connections, until it is closed. */
export class PlaceFinder {
  readonly #coordinator: Client<typeof OperatorService>;
  readonly #agent: Client<typeof ResolverService> | undefined;
  readonly #finder: LeaderFinder;

  /**
   * @param options.hasCallIds for a question that is asked once: of one that a program asks all day, servers log no
   * failures
   * @throws CERTIFICATE_INVALID
   */
  constructor(config: OperatorConfig, { hasCallIds }: { hasCallIds: boolean }) {
    const tls = openTls(config);
    const { agent } = config;
    this.#finder = leaderFinder(config, tls, { hasCallIds });
    this.#coordinator = this.#finder.client(OperatorService);
    this.#agent =
      agent &&
      createClient(ResolverService, {
        address: agent.address,
        tls,
        expected: { kind: 'site', name: agent.site },
        hasCallIds,
      });
  }

  /**
   * @throws what the coordinator answers; NOT_SERVED where only the agent answers and says so; otherwise SITE_UNREACHABLE
   * and its like, of the coordinator
   */
  async find(group: string, { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal }): Promise<Place> {
    const agent = this.#agent;
    const options = (limitMs: number) => ({ timeoutMs: limitMs, ...(signal === undefined ? {} : { signal }) });
    const coordinatorMs = agent === undefined ? timeoutMs : Math.min(timeoutMs / 2, COORDINATOR_MS_MAX);
    const first = await this.#coordinator
      .resolve({ group }, options(coordinatorMs))
      .then((answer) => ofCoordinator(group, answer, this.#finder.leader?.id ?? ''))
      .catch((thrown: unknown) => new Failed(this.#meaningOf(thrown, coordinatorMs)));
    const settled = (): Place => {
      if (first instanceof Failed) throw first.thrown;
      return first;
    };
    const isSure = first instanceof Failed ? !isSilent(first.thrown) : first.isLeader;
    if (agent === undefined || isSure) return settled();
    try {
      const second = ofAgent(await agent.lastKnown({ group }, options(timeoutMs - coordinatorMs)));
      return first instanceof Failed ? second : laterOf(first, second);
    } catch (thrown) {
      // Whatever else the agent says, the silence of the coordinator is the news.
      if (hasCode(thrown, 'NOT_SERVED')) throw thrown;
      return settled();
    }
  }

  #meaningOf(thrown: unknown, timeoutMs: number): unknown {
    const isUnanswered = hasCode(thrown, 'TIMED_OUT') && isUnreachable(thrown);
    return isUnanswered ? noAnswer({ coordinators: this.#finder.coordinators, timeoutMs }, thrown) : thrown;
  }

  close(): void {
    void this.#finder.close();
    this.#agent?.close();
  }
}

/** A coordinator that does not lead reads the database all the same, and can know a tenure that the agent has not heard of. */
export const laterOf = (ofCoordinator: Place, ofAgent: Place): Place =>
  ofCoordinator.epoch > ofAgent.epoch ? ofCoordinator : ofAgent;

class Failed {
  readonly thrown: unknown;
  constructor(thrown: unknown) {
    this.thrown = thrown;
  }
}

/** Whether a coordinator has said nothing about the group, because it is away or does not lead. */
const isSilent = (thrown: unknown): boolean =>
  isUnreachable(thrown) || hasCode(thrown, 'DATABASE_UNAVAILABLE', 'LEADERSHIP_LOST', 'NOT_LEADER', 'TIMED_OUT');

const ofCoordinator = (group: string, answer: ResolveResponse, id: string): Place => ({
  group,
  site: answer.site,
  module: answer.module,
  tokenLabel: answer.tokenLabel,
  serial: answer.serial,
  epoch: answer.epoch,
  siteState: answer.siteState,
  partitionErrorCode: answer.partitionErrorCode,
  isLeader: answer.isLeader,
  ...(answer.isWithoutDatabase ? { isWithoutDatabase: true as const } : {}),
  answeredBy: `coordinator ${id}`,
  ageMs: 0,
});

function ofAgent({ place, answeredBy, ageMs, vouchedBy, notVouchedBy, leaseRemainingMs }: LastKnownResponse): Place {
  const { group = '', site = '', module = '', tokenLabel = '', serial = '', epoch = 0n } = place ?? {};
  return {
    group,
    site,
    module,
    tokenLabel,
    serial,
    epoch,
    siteState: place?.siteState ?? '',
    partitionErrorCode: place?.partitionErrorCode ?? '',
    isLeader: false,
    answeredBy: `site ${answeredBy}`,
    ageMs: ageMs === undefined ? undefined : Number(ageMs),
    ...(vouchedBy.length + notVouchedBy.length === 0
      ? {}
      : { vouched: { by: vouchedBy, missing: notVouchedBy, leaseMs: Number(leaseRemainingMs) } }),
  };
}
