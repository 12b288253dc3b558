/** Makes the objects of a generation in the partition. Nothing that is there is overwritten (I11). */
import { CKA, CKO, returnValueOf } from '@antipode/cryptoki';
import { AntipodeError } from '@antipode/runtime';
import type { Attributes } from '../model/attributes.ts';
import type { Handle } from '../model/object.ts';
import type { BatchOutcome, CreateItem, Restorer, UnwrapItem } from '../provider/restorer.ts';
import { decryptUnder, openDataKey } from './data-key.ts';
import { batch, type Maker, ObjectRefused, openingBlob } from './maker.ts';
import type { WrappingKeys } from './own-keys/wrapping-keys.ts';
import { templateOf } from './reading/objects.ts';
import type { WrappingSession } from './token-session.ts';

export class Pkcs11Restorer implements Restorer {
  readonly #context: WrappingSession;
  readonly #maker: Maker;
  readonly #wrappingKeys: WrappingKeys;

  constructor(context: WrappingSession, { maker, wrappingKeys }: { maker: Maker; wrappingKeys: WrappingKeys }) {
    this.#context = context;
    this.#maker = maker;
    this.#wrappingKeys = wrappingKeys;
  }

  async unwrap(domainKey: Handle, items: readonly UnwrapItem[]): Promise<BatchOutcome> {
    return batch(items, (item) => {
      const key = this.#wrappingKeys.for(domainKey, item.attributes);
      if (key === undefined) throw new ObjectRefused({ code: 'DOMAIN_KEY_UNTRUSTED' });
      return this.#maker.unwrap({ mechanism: this.#context.keyWrap, under: key, wrapping: key }, item);
    });
  }

  async create(items: readonly CreateItem[]): Promise<BatchOutcome> {
    return batch(items, (item) => this.#maker.create(item));
  }

  async unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle> {
    try {
      return openDataKey(this.#context, domainKey, blob);
    } catch (thrown) {
      const returnValue = returnValueOf(thrown);
      throw new AntipodeError('BLOB_INVALID', `the token refused the data key (${returnValue})`, {
        details: { returnValue },
        cause: thrown,
      });
    }
  }

  async createData(options: {
    dataKey: Handle;
    items: readonly { attributes: Attributes; ciphertext: Uint8Array; aad: Uint8Array }[];
  }): Promise<BatchOutcome> {
    return batch(options.items, ({ attributes, ciphertext, aad }) => {
      const value = openingBlob(() => decryptUnder(this.#context, { dataKey: options.dataKey, ciphertext, aad }));
      try {
        return this.#maker.persist([[CKA.CLASS, CKO.DATA], [CKA.VALUE, value], ...templateOf('data', attributes)]);
      } finally {
        value.fill(0);
      }
    });
  }
}
