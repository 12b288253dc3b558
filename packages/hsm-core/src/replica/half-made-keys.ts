/**
 * Destroys keys that an interrupted apply left half made. Such a key has the class and type of an open intent, no other
 * names than the intent has, and no use that works in two looks 250 ms apart.
 *
 * Another application may be making a key that looks the same. So a key that works, or that no mechanism could try,
 * stays.
 */
import { bytesEqual } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import type { Examined } from '../objects/recognise.ts';
import type { ApplyIntent, Replica } from './replica.ts';

export class HalfMadeKeys {
  readonly #replica: Pick<Replica, 'provider' | 'checkFence'>;
  readonly #domainKey: Handle;
  readonly #intents: readonly ApplyIntent[];

  constructor(
    replica: Pick<Replica, 'provider' | 'checkFence'>,
    { domainKey, intents }: { domainKey: Handle; intents: readonly ApplyIntent[] },
  ) {
    this.#replica = replica;
    this.#domainKey = domainKey;
    this.#intents = intents;
  }

  /** `unexplained` are objects that no generation names. Returns those that are destroyed. */
  async destroyAmong(unexplained: readonly Examined[]): Promise<Handle[]> {
    const { provider, checkFence } = this.#replica;
    if (this.#intents.length === 0) return [];
    const refusing = await this.#refusing(this.#suspects(unexplained));
    if (refusing.length === 0) return [];
    const before = new Map(unexplained.map(({ object }) => [object.handle, object.readDigest]));
    const again = new Map((await provider.inventory()).map(({ handle, readDigest }) => [handle, readDigest]));
    const half = await this.#refusing(refusing.filter((handle) => again.get(handle) === before.get(handle)));
    if (half.length === 0) return [];
    checkFence();
    const readDigests = half.map((handle) => again.get(handle));
    const left = new Set(await provider.destroy(half, readDigests));
    return half.filter((handle) => !left.has(handle));
  }

  #suspects(unexplained: readonly Examined[]): Handle[] {
    const isOfIntent = ({ object: { objectClass, keyType, attributes } }: Examined): boolean =>
      this.#intents.some(
        (intent) =>
          intent.objectClass === objectClass &&
          intent.keyType === keyType &&
          (['id', 'label'] as const).every(
            (name) => !attributes[name]?.length || bytesEqual(intent[name], attributes[name]),
          ),
      );
    return unexplained.filter((one) => one.refusal !== undefined && isOfIntent(one)).map(({ object }) => object.handle);
  }

  async #refusing(handles: readonly Handle[]): Promise<Handle[]> {
    const answers = await this.#replica.provider.challenge(this.#domainKey, handles);
    return handles.filter((_handle, index) => answers[index] === 'refuses');
  }
}
