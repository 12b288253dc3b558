/**
 * Makes vectors in the token, and repeats them (ADR 0057). The ways are those of the key kinds. Each is deterministic,
 * and none is a stream: a fixed IV in CTR, GCM or OFB would show key stream that an application may use again. A cipher
 * block chains from the label, with an IV of zeros.
 */
import {
  CKA,
  CKM,
  CryptokiFailure,
  derivationFrom,
  type Mechanism,
  mechanism as mechanismOf,
  type Template,
} from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import { kindOfObject } from '../../key-kinds/kinds.ts';
import type { AttributeName, Attributes } from '../../model/attributes.ts';
import type { Handle, ObservedObject } from '../../model/object.ts';
import {
  VECTOR_NONCE_BYTES,
  VECTOR_NONCE_SEED,
  type Vector,
  type VectorUse,
  vectorMessage,
  vectorResultInput,
} from '../../model/vector.ts';
import { tagOf } from '../own-keys/tags.ts';
import { nestedTemplate } from '../reading/objects.ts';
import type { WrappingSession } from '../token-session.ts';
import { Partner } from './partner.ts';

/** A key at work: the key itself, or a copy of it in the session with a use that the key lacks. */
interface Worker {
  readonly context: WrappingSession;
  readonly key: Handle;
  readonly attributes: Attributes;
}

/** One way to make a vector with keys of a kind. */
export interface VectorWay {
  readonly use: VectorUse;
  /** Any of these uses of a key is shown by this way. */
  readonly shows: readonly AttributeName[];
  /** A key with one of these is shown better by another way. */
  readonly unless?: readonly AttributeName[];
  /** Mechanisms, the preferred first. All are deterministic. */
  readonly types: (context: WrappingSession) => readonly number[];
  /** @throws CryptokiFailure */
  work(worker: Worker, type: number, message: Uint8Array): Uint8Array | undefined;
}

export const macWay = (...types: readonly number[]): VectorWay => ({
  use: 'sign',
  shows: ['sign', 'verify'],
  types: () => types,
  work: ({ context: { cryptoki, session }, key }, type, message) =>
    cryptoki.sign(session, mechanismOf(type), key, message),
});

/** Ways of a block cipher. Both have whole blocks, so that nothing is padded. */
export function cipherWays({ cbc, ecb, blockBytes }: { cbc: number; ecb: number; blockBytes: number }): VectorWay[] {
  const how = (type: number): Mechanism => mechanismOf(type, type === cbc ? Buffer.alloc(blockBytes) : undefined);
  const types = (): number[] => [cbc, ecb];
  return [
    {
      use: 'encrypt',
      shows: ['encrypt'],
      types,
      work: ({ context: { cryptoki, session }, key }, type, message) =>
        cryptoki.encrypt(session, how(type), key, message),
    },
    {
      use: 'decrypt',
      shows: ['decrypt'],
      unless: ['encrypt'],
      types,
      work: ({ context: { cryptoki, session }, key }, type, message) =>
        cryptoki.decrypt(session, how(type), key, message),
    },
  ];
}

/** Wraps a throw-away secret: RFC 5649 is deterministic. */
export const WRAP_WAY: VectorWay = {
  use: 'wrap',
  shows: ['wrap', 'unwrap'],
  types: ({ keyWrap }) => [keyWrap.type],
  work: ({ context: { cryptoki, session, keyWrap, values }, key, attributes }, _type, message) => {
    const wanted = nestedTemplate(attributes.wrapTemplate ?? new Uint8Array());
    const throwAway = values.make(message, wanted);
    try {
      return cryptoki.wrapKey(session, keyWrap, key, throwAway);
    } finally {
      cryptoki.destroy(session, throwAway);
    }
  },
};

/** The derived value is what encrypting gives. Nobody uses it, since the message is ours. */
export const encryptionDerivingWay = (type: number): VectorWay => ({
  use: 'derive',
  shows: ['derive'],
  types: () => [type],
  work: ({ context: { cryptoki, session, values }, key }, by, message) => {
    const template: Template = [...values.readable, [CKA.VALUE_LEN, message.length]];
    const derived = cryptoki.deriveKey(session, derivationFrom(by, message), key, template);
    try {
      return values.read(derived);
    } finally {
      cryptoki.destroy(session, derived);
    }
  },
});

/** Derives a secret that nobody reads, since it has the key's value in it, and has it make a MAC. */
export const HIDDEN_DERIVING_WAY: VectorWay = {
  use: 'derive',
  shows: ['derive'],
  unless: ['sign', 'verify'],
  types: () => [CKM.CONCATENATE_BASE_AND_DATA],
  work: ({ context: { cryptoki, session, values }, key }, by, message) => {
    const hidden: Template = values.readable.map(([type, value]) =>
      type === CKA.SENSITIVE ? [type, true] : type === CKA.EXTRACTABLE ? [type, false] : [type, value],
    );
    const derived = cryptoki.deriveKey(session, derivationFrom(by, message), key, [...hidden, [CKA.SIGN, true]]);
    try {
      return cryptoki.sign(session, mechanismOf(CKM.SHA256_HMAC), derived, message);
    } finally {
      cryptoki.destroy(session, derived);
    }
  },
};

/** The use by which the partner is asked for the key. */
const USE_OF: Record<VectorUse, AttributeName> = {
  sign: 'sign',
  encrypt: 'encrypt',
  decrypt: 'decrypt',
  wrap: 'wrap',
  derive: 'derive',
};

interface VectorContext extends WrappingSession {
  readonly domainKey: Handle;
}

export class VectorMaker {
  readonly #context: VectorContext;
  #nonce: Uint8Array | undefined;

  constructor(context: VectorContext) {
    this.#context = context;
  }

  /** One for each way of the key that its uses, its mechanisms and the token allow. Empty for every other object. */
  vectorsOf(object: ObservedObject | undefined): Vector[] {
    if (object?.objectClass !== 'secret-key' || countsUses(object)) return [];
    const ways = kindOfObject(object)?.vectors ?? [];
    return this.#with(object, (partner) =>
      ways.flatMap((way) => {
        if (!isShownBy(way, object.attributes)) return [];
        for (const mechanism of this.#allowed(way, object.attributes)) {
          const vector = this.#vector(object, partner, { way, mechanism, nonce: this.#nonceNow() });
          if (vector !== undefined) return vector;
        }
        return [];
      }),
    );
  }

  /** Whether the key gives the vector again. Undefined where this token, or the key, does not do it. */
  repeats(
    object: Pick<ObservedObject, 'handle' | 'keyType' | 'attributes'>,
    { use, mechanism, nonce, result }: Vector,
  ): boolean | undefined {
    const way = kindOfObject(object)?.vectors?.find((one) => one.use === use && isShownBy(one, object.attributes));
    if (way === undefined || !this.#allowed(way, object.attributes).includes(mechanism)) return undefined;
    const made = this.#with(object, (partner) => this.#vector(object, partner, { way, mechanism, nonce }));
    return made && bytesEqual(made.result, result);
  }

  #with<T>(object: Pick<ObservedObject, 'handle' | 'attributes'>, work: (partner: Partner) => T): T {
    const partner = new Partner(this.#context, object);
    try {
      return work(partner);
    } finally {
      partner.end();
    }
  }

  #allowed(way: VectorWay, { allowedMechanisms }: Attributes): number[] {
    return way.types(this.#context).filter((type) => !allowedMechanisms?.length || allowedMechanisms.includes(type));
  }

  #vector(
    { attributes }: Pick<ObservedObject, 'attributes'>,
    partner: Partner,
    { way, mechanism, nonce }: { way: VectorWay; mechanism: number; nonce: Uint8Array },
  ): Vector | undefined {
    const { use } = way;
    try {
      const key = partner.for(USE_OF[use]);
      if (key === undefined) return undefined;
      const made = way.work({ context: this.#context, key, attributes }, mechanism, vectorMessage(nonce));
      if (made === undefined || made.length === 0) return undefined;
      const result = tagOf(this.#context, this.#context.domainKey, vectorResultInput({ use, mechanism }, made));
      return { use, mechanism, nonce, result };
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return undefined;
      throw thrown;
    }
  }

  #nonceNow(): Uint8Array {
    this.#nonce ??= tagOf(this.#context, this.#context.domainKey, VECTOR_NONCE_SEED).slice(0, VECTOR_NONCE_BYTES);
    return this.#nonce;
  }
}

const isShownBy = ({ shows, unless = [] }: VectorWay, attributes: Attributes): boolean =>
  shows.some((use) => attributes[use] === true) && !unless.some((use) => attributes[use] === true);

/** A limit of uses is an attribute of the vendor's own (`vendorAttributes` in agent.yaml): such a key is never used up. */
const countsUses = ({ notCarried = [] }: ObservedObject): boolean => notCarried.some((name) => name.startsWith('0x'));
