/** Shows by use that objects in the partition are what they are held for. */
import type { Handle } from '../model/object.ts';
import type { Vector } from '../model/vector.ts';
import type { Challenge, ProofItem, ProofOutcome, Prover } from '../provider/prover.ts';
import type { ValueDigests } from './exact/value-digests.ts';
import { tagOf } from './own-keys/tags.ts';
import type { WrappingKeys } from './own-keys/wrapping-keys.ts';
import { challenge } from './proving/challenge.ts';
import type { ProveContext } from './proving/proof.ts';
import { prove } from './proving/prove.ts';
import { VectorMaker } from './proving/vectors.ts';
import type { ObjectReader } from './reading/object-reader.ts';
import type { PublicHalves } from './reading/public-halves.ts';
import { readValue } from './reading/value.ts';
import type { WrappingSession } from './token-session.ts';

interface ProverParts {
  readonly objects: ObjectReader;
  readonly publicHalves: PublicHalves;
  readonly wrappingKeys: WrappingKeys;
  readonly digests: ValueDigests;
  readonly loginForUse: ProveContext['loginForUse'];
}

export class Pkcs11Prover implements Prover {
  readonly #context: WrappingSession;
  readonly #parts: ProverParts;

  constructor(context: WrappingSession, parts: ProverParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async prove(domainKey: Handle, items: readonly ProofItem[]): Promise<ProofOutcome[]> {
    const { wrappingKeys, publicHalves } = this.#parts;
    return items.map((item) => {
      // Without a trusted key the domain key shows that it cannot wrap it: what is not proved is not called proved.
      const context = this.#proveContext(wrappingKeys.for(domainKey, item.attributes) ?? domainKey);
      const outcome = prove(context, item);
      const hasShownHalf = outcome.checks.some(
        ({ use, outcome: how }) => how === 'proved' && (use === 'sign' || use === 'derive'),
      );
      if (item.objectClass === 'private-key' && item.publicHalf !== undefined && hasShownHalf)
        publicHalves.proved(item.handle, item.publicHalf);
      return outcome;
    });
  }

  async makeVectors(domainKey: Handle, handles: readonly Handle[]): Promise<(readonly Vector[])[]> {
    const maker = new VectorMaker({ ...this.#context, domainKey });
    return handles.map((handle) => maker.vectorsOf(this.#parts.objects.read(handle)));
  }

  async challenge(domainKey: Handle, handles: readonly Handle[]): Promise<Challenge[]> {
    const context = this.#proveContext(domainKey);
    return handles.map((handle) => challenge(context, handle));
  }

  #proveContext(domainKey: Handle): ProveContext {
    const { objects, digests, loginForUse } = this.#parts;
    return {
      ...this.#context,
      objects,
      domainKey,
      loginForUse,
      tagData: (handle) => {
        const value = readValue(this.#context, handle);
        return value && tagOf(this.#context, domainKey, value);
      },
      tagSecret: (handle) => digests.tags(domainKey, [handle])[0],
    };
  }
}
