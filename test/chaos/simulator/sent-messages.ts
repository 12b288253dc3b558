/** Keeps the bytes and texts of messages, for those who look for secrets in them (I5). */

/** They come all the time, and hold ids, digests and counts. */
const SIGNS_OF_LIFE: ReadonlySet<string> = new Set([
  'heartbeat',
  'ping',
  'describe',
  'getLeader',
  'getStatus',
  'resolve',
]);

function collect(message: unknown, into: Uint8Array[]): void {
  if (message instanceof Uint8Array) into.push(message);
  else if (typeof message === 'string') into.push(Buffer.from(message));
  else if (typeof message === 'object' && message !== null)
    for (const value of Object.values(message)) collect(value, into);
}

export class SentMessages {
  readonly #parts: Uint8Array[] = [];

  note(method: string, message: unknown): void {
    if (!SIGNS_OF_LIFE.has(method)) collect(message, this.#parts);
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}
