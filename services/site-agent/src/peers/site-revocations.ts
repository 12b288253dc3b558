/** The list of revoked certificates of one site: read at the start, served to others, and kept the same as theirs. */
import { join } from 'node:path';
import {
  type Handlers,
  RevocationBook,
  type RevocationRules,
  type RevocationService,
  type RevocationStateSchema,
  revocationHandlers,
  revocationState,
  type Tls,
} from '@antipode/protocol';
import type { Closeable, Log } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RevocationRounds } from '../agent-loops.ts';
import type { AgentConfig } from '../config.ts';
import { RevocationExchange, type RevocationExchangeOptions } from './revocation-exchange.ts';

/** How many heartbeats lie between two looks for a newer list: 20 s with the slowest profile. */
const BEATS_PER_EXCHANGE = 10;
const EXCHANGE_MS_MAX = 20_000;
/** In the data folder. */
const FILE = 'revocations.json';

/** Whose signatures revoke certificates; undefined where nobody's do. */
export const revocationRulesOf = ({
  revocation,
  approvals,
}: {
  readonly revocation?: RevocationRules | undefined;
  readonly approvals?: RevocationRules | undefined;
}): RevocationRules | undefined =>
  revocation ?? (approvals && { required: approvals.required, operators: approvals.operators });

/** From now on, whoever is revoked is refused. Before the first connection. @throws REVOCATION_LIST_INVALID */
export function openRevocations(
  config: Pick<AgentConfig, 'dataFolder' | 'revocation' | 'approvals'>,
  { tls, log }: { tls: Tls; log: Log },
): RevocationBook {
  const file = join(config.dataFolder, FILE);
  const { trustDomain } = tls.identity;
  const book = new RevocationBook({ file, trustDomain, rules: revocationRulesOf(config), log });
  tls.obey(book);
  return book;
}

type Options = Omit<RevocationExchangeOptions, 'coordinators'> & {
  readonly config: Pick<AgentConfig, 'site' | 'coordinators'>;
};

export class SiteRevocations implements Closeable {
  readonly handlers: Handlers<typeof RevocationService>;
  readonly #options: Options;
  readonly #exchange: RevocationExchange;

  constructor(options: Options) {
    const { config, tls, book } = options;
    this.#options = options;
    this.#exchange = new RevocationExchange({ ...options, coordinators: config.coordinators });
    this.handlers = revocationHandlers({ book, process: `site/${config.site}`, ownRefusal: () => tls.ownRefusal() });
  }

  get state(): MessageInitShape<typeof RevocationStateSchema> {
    const { book, tls } = this.#options;
    return revocationState(book, tls.ownRefusal());
  }

  /** @param heartbeatMs as the coordinator has said */
  rounds(heartbeatMs: () => number): RevocationRounds {
    return {
      intervalMs: () => Math.min(EXCHANGE_MS_MAX, heartbeatMs() * BEATS_PER_EXCHANGE),
      pass: (signal) => this.#exchange.pass(signal),
    };
  }

  close(): Promise<void> {
    return this.#exchange.close();
  }
}
