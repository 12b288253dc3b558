/**
 * The keys that open the exactly sealed secrets of one generation (ADR 0034). An apply opens each of them once, however
 * many secrets there are: on a token that does not offer the exact way, every try costs some ten operations.
 */
import type { DataKey } from '../model/generation.ts';
import type { Handle } from '../model/object.ts';
import type { ExactOpening, HsmProvider } from '../provider/provider.ts';

export class ExactKeys {
  readonly #provider: Pick<HsmProvider, 'openExactKey' | 'forget'>;
  readonly #domainKey: Handle;
  readonly #blobOf: (sha256: string) => Uint8Array;
  readonly #opened = new Map<string, ExactOpening>();

  constructor({
    options: { provider, blobOf },
    domainKey,
  }: {
    options: { provider: Pick<HsmProvider, 'openExactKey' | 'forget'>; blobOf: (sha256: string) => Uint8Array };
    domainKey: Handle;
  }) {
    this.#provider = provider;
    this.#domainKey = domainKey;
    this.#blobOf = blobOf;
  }

  async of({ id, blobSha256 }: DataKey): Promise<ExactOpening> {
    const known = this.#opened.get(id);
    if (known !== undefined) return known;
    const opening = await this.#provider.openExactKey(this.#domainKey, this.#blobOf(blobSha256));
    this.#opened.set(id, opening);
    return opening;
  }

  /** Destroys the session keys. If the worker is lost, they are gone with it. */
  async forget(): Promise<void> {
    const handles = [...this.#opened.values()].flatMap((opening) =>
      'key' in opening ? [opening.key.dataKey, opening.key.wrapping, opening.key.opening] : [],
    );
    this.#opened.clear();
    if (handles.length > 0) await this.#provider.forget(handles).catch(() => undefined);
  }
}
