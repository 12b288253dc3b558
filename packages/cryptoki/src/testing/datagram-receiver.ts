/** A Unix datagram socket that a test reads, as a service manager does. */
import koffi from 'koffi';

const [AF_UNIX, SOCK_DGRAM, MSG_DONTWAIT] = [1, 2, 0x40];
const MESSAGE_BYTES_MAX = 4_096;

export class DatagramReceiver {
  readonly #library = koffi.load('libc.so.6');
  readonly #descriptor: number;

  /** A name that begins with `@` is an abstract one. */
  constructor(path: string) {
    const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`);
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), name]);
    this.#descriptor = this.#library.func('socket', 'int', ['int', 'int', 'int'])(AF_UNIX, SOCK_DGRAM, 0);
    const bind = this.#library.func('bind', 'int', ['int', 'void *', 'uint32_t']);
    if (bind(this.#descriptor, address, address.length) !== 0) throw new Error(`cannot listen on ${path}`);
  }

  /** The oldest message that nobody has read, if there is one. */
  read(): string | undefined {
    const buffer = Buffer.alloc(MESSAGE_BYTES_MAX);
    const receive = this.#library.func('recv', 'long', ['int', 'void *', 'size_t', 'int']);
    const length = Number(receive(this.#descriptor, buffer, buffer.length, MSG_DONTWAIT));
    return length < 0 ? undefined : buffer.toString('utf8', 0, length);
  }

  readAll(): string[] {
    const all: string[] = [];
    for (let one = this.read(); one !== undefined; one = this.read()) all.push(one);
    return all;
  }

  close(): void {
    this.#library.func('close', 'int', ['int'])(this.#descriptor);
  }
}
