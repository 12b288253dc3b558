/** Bytes of the tool, in whatever pieces they come, as whole lines and the beginning of the next one. */
import { cleanLine } from './parse/clean-text.ts';

export class Scanner {
  // Labels can hold any bytes: bytes that are not UTF-8 become a mark, and reading goes on.
  readonly #decoder = new TextDecoder('utf-8');
  readonly #lines: string[] = [];
  #rest = '';

  feed(bytes: Uint8Array): void {
    const pieces = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = pieces.pop() ?? '';
    this.#lines.push(...pieces.map(cleanLine));
  }

  /** The lines since the last call. */
  take(): string[] {
    return this.#lines.splice(0);
  }

  /** The line that is not whole yet: a prompt has no end of line. */
  get tail(): string {
    return cleanLine(this.#rest);
  }

  /** Takes that line as it is. Whatever comes next begins another. */
  takeTail(): string {
    const { tail } = this;
    this.#rest = '';
    return tail;
  }
}
