/** Makes the objects of a generation in the partition. Nothing that is there is overwritten (I11). */
import { aesGcm, CKA, CKK, CKO, CryptokiFailure, returnValueOf, SessionFailure, translate } from '@antipode/cryptoki';
import { AntipodeError } from '@antipode/runtime';
import type { Attributes } from '../model/attributes.ts';
import type { Handle } from '../model/object.ts';
import type { BatchOutcome, CreateItem, Restorer, UnwrapItem } from '../provider/restorer.ts';
import { type Maker, ObjectRefused, openingBlob } from './maker.ts';
import { unwrapNarrowed } from './own-keys/narrowing.ts';
import type { WrappingKeys } from './own-keys/wrapping-keys.ts';
import { templateOf } from './reading/objects.ts';
import { GCM_IV_BYTES } from './sealer.ts';
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
      return this.#maker.unwrap(key, item);
    });
  }

  async create(items: readonly CreateItem[]): Promise<BatchOutcome> {
    return batch(items, (item) => this.#maker.create(item));
  }

  async unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle> {
    try {
      const how = { mechanism: this.#context.keyWrap, under: domainKey, blob };
      return unwrapNarrowed(this.#context, how, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, false],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.ENCRYPT, false],
        [CKA.DECRYPT, true],
        [CKA.WRAP, false],
        [CKA.UNWRAP, false],
      ]);
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
      const value = this.#decryptData(options.dataKey, ciphertext, aad);
      try {
        return this.#maker.persist([[CKA.CLASS, CKO.DATA], [CKA.VALUE, value], ...templateOf('data', attributes)]);
      } finally {
        value.fill(0);
      }
    });
  }

  #decryptData(dataKey: Handle, ciphertext: Uint8Array, aad: Uint8Array): Buffer {
    const [iv, sealed] = [ciphertext.subarray(0, GCM_IV_BYTES), ciphertext.subarray(GCM_IV_BYTES)];
    return openingBlob(() => this.#context.cryptoki.decrypt(this.#context.session, aesGcm(iv, aad), dataKey, sealed));
  }
}

function batch<Item>(items: readonly Item[], make: (item: Item) => Handle): BatchOutcome {
  const handles: Handle[] = [];
  for (const [index, item] of items.entries()) {
    try {
      handles.push(make(item));
    } catch (thrown) {
      if (thrown instanceof ObjectRefused) return { handles, failure: { index, ...thrown.why } };
      if (thrown instanceof CryptokiFailure)
        return { handles, failure: { index, code: 'HSM_REFUSED', returnValue: thrown.returnValue } };
      if (!(thrown instanceof SessionFailure)) throw thrown;
      // The objects made before it are there all the same.
      const { code, details } = translate(thrown);
      if (code !== 'HSM_FULL' && code !== 'HSM_UNAVAILABLE' && code !== 'HSM_SESSION_VOID') throw thrown;
      return { handles, failure: { index, code, returnValue: String(details['returnValue']) } };
    }
  }
  return { handles };
}
