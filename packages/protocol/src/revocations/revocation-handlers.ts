/** The service of the list, as coordinators and agents serve it, and its messages. */

import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  RevocationService,
  RevocationStateSchema,
  SignedRevocationList,
  SignedRevocationListSchema,
} from '../gen/antipode/v1/revocation_pb.ts';
import type { Handlers } from '../server.ts';
import type { RevocationBook } from './revocation-book.ts';
import type { SignedRevocations } from './revocation-list.ts';

export const signedListMessage = ({
  list,
  signatures,
}: SignedRevocations): MessageInitShape<typeof SignedRevocationListSchema> => ({
  list,
  signatures: signatures.map(({ operator, signature }) => ({ operator, signature })),
});

/** Copied: a received message is a view on a buffer that is larger. */
export const signedRevocationsFrom = ({ list, signatures }: SignedRevocationList): SignedRevocations => ({
  list: new Uint8Array(list),
  signatures: signatures.map(({ operator, signature }) => ({ operator, signature: new Uint8Array(signature) })),
});

/** @param ownRefusal why the certificate of this process does not count by its own list; undefined where it does */
export const revocationState = (
  { version, held, rules, problem }: Pick<RevocationBook, 'version' | 'held' | 'rules' | 'problem'>,
  ownRefusal?: AntipodeError | undefined,
): MessageInitShape<typeof RevocationStateSchema> => ({
  version,
  digest: held?.digest ?? '',
  hasRules: rules !== undefined,
  problem,
  ownRefusal: ownRefusal?.message.replace(`[${ownRefusal.code}] `, '') ?? '',
});

/** @param process the process that serves it, as `site/a` */
export function revocationHandlers({
  book,
  process,
  ownRefusal,
}: {
  book: RevocationBook;
  process: string;
  ownRefusal: () => AntipodeError | undefined;
}): Handlers<typeof RevocationService> {
  const state = () => revocationState(book, ownRefusal());
  const inForce = () => (book.held === undefined ? {} : { list: signedListMessage(book.held.signed) });
  return {
    getRevocations: async () => ({ process, state: state(), ...inForce() }),

    submitRevocations: async ({ list }) => {
      if (list === undefined)
        throw new AntipodeError('REQUEST_INVALID', 'list is missing', { details: { field: 'list' } });
      book.take(signedRevocationsFrom(list), { follows: true });
      return { process, state: state() };
    },

    exchangeRevocations: async ({ state: theirs, list }) => {
      book.saveAgain();
      if (list !== undefined && book.rules !== undefined) book.take(signedRevocationsFrom(list));
      const { version = 0, digest = '' } = theirs ?? {};
      // Another list of the same version: the caller believes the signatures, and no word.
      const isOther = version === book.version && digest !== book.held?.digest;
      return { state: state(), ...(book.version > version || isOther ? inForce() : {}) };
    },
  };
}
