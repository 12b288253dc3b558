/** The two sides of a joining speak in frames: four bytes of length, and one message. Neither reads more than it expects. */
import type { TLSSocket } from 'node:tls';
import { AntipodeError } from '@antipode/runtime';

/** Named in the handshake, so that no server or client of another protocol takes part by mistake. */
export const JOIN_PROTOCOL = 'antipode-join/1';

/** A request of a key on P-256 has some 600 bytes, and the longest names a thousand. */
export const JOIN_REQUEST_BYTES_MAX = 4 * 1024;
/** Of greeting and answer: a chain and eight authorities. */
export const JOIN_ANSWER_BYTES_MAX = 64 * 1024;
const LENGTH_BYTES = 4;

export function frame(message: Uint8Array): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(message.length);
  return Buffer.concat([length, message]);
}

/** The frames that a socket brings, one after the other. */
export class Frames {
  readonly #socket: TLSSocket;
  readonly #bytesMax: number;
  #held: Buffer = Buffer.alloc(0);

  constructor(socket: TLSSocket, { bytesMax }: { bytesMax: number }) {
    this.#socket = socket;
    this.#bytesMax = bytesMax;
  }

  /** The next one. @throws SITE_UNREACHABLE if the connection ends before, or the other side announces too much */
  async next(): Promise<Buffer> {
    for (;;) {
      const message = this.#whole();
      if (message !== undefined) return message;
      this.#held = Buffer.concat([this.#held, await more(this.#socket)]);
    }
  }

  #whole(): Buffer | undefined {
    if (this.#held.length < LENGTH_BYTES) return undefined;
    const end = LENGTH_BYTES + this.#held.readUInt32BE();
    if (end > LENGTH_BYTES + this.#bytesMax) throw unfinished('a message is too long');
    if (this.#held.length < end) return undefined;
    const message = this.#held.subarray(LENGTH_BYTES, end);
    this.#held = this.#held.subarray(end);
    return message;
  }
}

/** The next bytes. Nothing is read while nobody waits for it. */
function more(socket: TLSSocket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.pause();
      socket.off('data', take).off('end', gone).off('close', gone).off('error', gone);
    };
    const take = (bytes: Buffer): void => {
      done();
      resolve(bytes);
    };
    const gone = (): void => {
      done();
      reject(unfinished('the connection ended too early'));
    };
    if (socket.destroyed || socket.readableEnded) return gone();
    socket.on('data', take).on('end', gone).on('close', gone).on('error', gone);
    socket.resume();
  });
}

const unfinished = (why: string): AntipodeError =>
  new AntipodeError('SITE_UNREACHABLE', `joining was broken off: ${why}`, {
    hint: 'Run the same command again. The coordinator takes few callers at a time, and its log says whom it has refused.',
  });
