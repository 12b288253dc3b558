/**
 * Messages to a Unix datagram socket, which Node cannot send: the language of the service manager (sd_notify(3)). One call
 * of the C library for each, and no program is started. Linux only.
 */
import koffi from 'koffi';

const [AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC] = [1, 2, 0o2000000];
const [MSG_DONTWAIT, MSG_NOSIGNAL] = [0x40, 0x4000];
/** sockaddr_un: a family of 2 bytes, then the path. */
const PATH_BYTES_MAX = 108;

interface SocketCalls {
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly sendto: (
    socket: number,
    message: Buffer,
    length: number,
    flags: number,
    address: Buffer,
    addressLength: number,
  ) => bigint | number;
  readonly close: (descriptor: number) => number;
}

let loaded: SocketCalls | undefined;

function calls(): SocketCalls {
  if (loaded !== undefined) return loaded;
  const library = koffi.load('libc.so.6');
  loaded = {
    socket: library.func('socket', 'int', ['int', 'int', 'int']),
    sendto: library.func('sendto', 'long', ['int', 'void *', 'size_t', 'int', 'void *', 'uint32_t']),
    close: library.func('close', 'int', ['int']),
  };
  return loaded;
}

/**
 * Sends `text` without waiting. A name that begins with `@` is an abstract one.
 * @returns whether the system took it: it does not if nobody listens, or if the listener's queue is full
 */
export function sendDatagram(path: string, text: string): boolean {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  if (process.platform !== 'linux' || name.length === 0 || name.length >= PATH_BYTES_MAX) return false;
  const family = Buffer.alloc(2);
  new Uint16Array(family.buffer, family.byteOffset, 1)[0] = AF_UNIX;
  // An abstract name ends with the address. A path ends with a zero byte.
  const address = Buffer.concat([family, name, Buffer.alloc(path.startsWith('@') ? 0 : 1)]);
  const message = Buffer.from(text);
  const { socket, sendto, close } = calls();
  const descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  try {
    const sent = sendto(descriptor, message, message.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
    return Number(sent) === message.length;
  } finally {
    close(descriptor);
  }
}
