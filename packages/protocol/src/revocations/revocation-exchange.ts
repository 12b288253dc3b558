/**
 * Compares the list of this process with that of another one, and replaces the older of both. Agents do that with all
 * coordinators and with each other. So a coordinator that keeps a list back keeps it from nobody, and is noticed.
 */
import { AntipodeError, hasCode } from '@antipode/runtime';
import type { Client } from '../client.ts';
import type { RevocationService } from '../gen/antipode/v1/revocation_pb.ts';
import type { RevocationBook } from './revocation-book.ts';
import { revocationState, signedListMessage, signedRevocationsFrom } from './revocation-handlers.ts';

export type ExchangePeer = Pick<Client<typeof RevocationService>, 'exchangeRevocations'>;

export interface ExchangeOutcome {
  /** The version that the other process goes by now. */
  readonly theirs: number;
  /** It could have taken our list, and has not. */
  readonly isBehind: boolean;
}

/** @throws what the call throws, and what {@link RevocationBook.take} does of their list */
export async function exchangeRevocations(
  book: RevocationBook,
  peer: ExchangePeer,
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<ExchangeOutcome> {
  const first = await peer.exchangeRevocations({ state: revocationState(book) }, options);
  book.saveAgain();
  if (first.list !== undefined && book.rules !== undefined)
    try {
      book.take(signedRevocationsFrom(first.list));
    } catch (thrown) {
      // Operators have signed another list of this version. The other process sees that by ours, and refuses it.
      if (hasCode(thrown, 'REVOCATION_LIST_OLD') && book.held !== undefined && first.state?.hasRules === true) {
        const list = signedListMessage(book.held.signed);
        await peer.exchangeRevocations({ state: revocationState(book), list }, options).catch(requireOurs);
      }
      throw thrown;
    }
  const { held } = book;
  const theirs = first.state?.version ?? 0;
  if (held === undefined || theirs >= book.version || first.state?.hasRules !== true)
    return { theirs, isBehind: false };
  const offer = { state: revocationState(book), list: signedListMessage(held.signed) };
  const { state } = await peer.exchangeRevocations(offer, options);
  const after = state?.version ?? 0;
  return { theirs: after, isBehind: after < held.list.version };
}

function requireOurs(thrown: unknown): void {
  if (!(thrown instanceof AntipodeError)) throw thrown;
}
