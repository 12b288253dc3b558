/** The processes that an operator can ask for the list of revoked certificates: all coordinators, and the agent there. */
import {
  type Client,
  createClient,
  type GetRevocationsResponse,
  parseRevocations,
  type RevocationList,
  type RevocationRules,
  RevocationService,
  revocationDigest,
  type SignedRevocations,
  signedListMessage,
  signedRevocationsFrom,
  type Tls,
  verifyRevocations,
} from '@antipode/protocol';
import { AntipodeError, hasCode } from '@antipode/runtime';
import type { OperatorConfig } from '../operator-connection.ts';

export interface Answered {
  /** As `coordinator/main`. */
  readonly process: string;
  readonly version: number;
  readonly problem: string;
  readonly error?: AntipodeError;
}

export interface ListInForce {
  readonly signed: SignedRevocations;
  readonly list: RevocationList;
  readonly digest: string;
}

type Asked = Pick<OperatorConfig, 'coordinators' | 'agent'>;

export class RevocationDesk {
  readonly #rules: RevocationRules | undefined;
  readonly #clients: { process: string; client: Client<typeof RevocationService> }[];
  readonly #timeoutMs: number;

  constructor({ coordinators, agent }: Asked, { tls, timeoutMs }: { tls: Tls; timeoutMs: number }) {
    this.#timeoutMs = timeoutMs;
    this.#rules = tls.revocations?.rules;
    this.#clients = [
      ...coordinators.map(({ id, address }) => ({ kind: 'coordinator' as const, name: id, address })),
      ...(agent === undefined ? [] : [{ kind: 'site' as const, name: agent.site, address: agent.address }]),
    ].map(({ kind, name, address }) => ({
      process: `${kind}/${name}`,
      client: createClient(RevocationService, { address, tls, expected: { kind, name }, hasCallIds: true }),
    }));
  }

  /** The newest list that counts here, and who has which. A process that does not answer is among them, with why. */
  async read(): Promise<{ newest: ListInForce | undefined; processes: readonly Answered[] }> {
    const timeoutMs = this.#timeoutMs;
    const answers = await this.#each((client) => client.getRevocations({}, { timeoutMs }));
    return readAnswers(answers, this.#rules);
  }

  /** Brings a list to everybody who answers. @throws the first refusal, where nobody has taken it */
  async submit(signed: SignedRevocations): Promise<readonly Answered[]> {
    const timeoutMs = this.#timeoutMs;
    const list = signedListMessage(signed);
    const answers = await this.#each((client) => client.submitRevocations({ list }, { timeoutMs }));
    const refused = answers.flatMap(({ error }) => error ?? []);
    const worst = refused.find((error) => !hasCode(error, 'SITE_UNREACHABLE', 'TIMED_OUT')) ?? refused[0];
    if (worst !== undefined && refused.length === answers.length) throw worst;
    return answers.map(({ process, answer, error }) => answeredBy(process, { answer, error }));
  }

  close(): void {
    for (const { client } of this.#clients) client.close();
  }

  #each<Answer>(ask: (client: Client<typeof RevocationService>) => Promise<Answer>) {
    return Promise.all(
      this.#clients.map(
        async ({ process, client }): Promise<{ process: string; answer?: Answer; error?: AntipodeError }> => {
          try {
            return { process, answer: await ask(client) };
          } catch (thrown) {
            return { process, error: AntipodeError.from(thrown) };
          }
        },
      ),
    );
  }
}

/**
 * A process can say anything of its list. One that nobody has signed takes the place of no other list, and its process is
 * named. Without rules here nobody can tell, so the highest version counts.
 */
export function readAnswers(
  answers: readonly {
    readonly process: string;
    readonly answer?: GetRevocationsResponse | undefined;
    readonly error?: AntipodeError | undefined;
  }[],
  rules: RevocationRules | undefined,
): { newest: ListInForce | undefined; processes: readonly Answered[] } {
  const lists: ListInForce[] = [];
  const processes = answers.map(({ process, answer, error }) => {
    const answered = answeredBy(process, { answer, error });
    try {
      if (answer?.list !== undefined) lists.push(listOf(answer.list, rules));
      return answered;
    } catch (thrown) {
      if (!(thrown instanceof AntipodeError)) throw thrown;
      return { ...answered, problem: thrown.code };
    }
  });
  return { newest: lists.sort((one, other) => other.list.version - one.list.version)[0], processes };
}

/** @throws REVOCATION_LIST_INVALID, REVOCATION_LIST_UNSIGNED */
function listOf(message: NonNullable<GetRevocationsResponse['list']>, rules: RevocationRules | undefined): ListInForce {
  const signed = signedRevocationsFrom(message);
  if (rules !== undefined) return { signed, ...verifyRevocations(signed, rules) };
  return { signed, list: parseRevocations(signed.list), digest: revocationDigest(signed.list) };
}

const answeredBy = (
  process: string,
  {
    answer,
    error,
  }: {
    answer?: { state?: { version: number; problem: string; hasRules: boolean } | undefined } | undefined;
    error?: AntipodeError | undefined;
  },
): Answered => ({
  process,
  version: answer?.state?.version ?? 0,
  problem:
    error?.code ?? (answer?.state?.hasRules === false ? 'REVOCATION_RULES_MISSING' : (answer?.state?.problem ?? '')),
  ...(error === undefined ? {} : { error }),
});
