/**
 * A link between sites that tests can make slow, cut or black-hole: a TCP proxy on loopback. Bytes keep their order; a
 * delay is added to each direction, so the round trip grows by twice as much.
 */
import { connect, createServer, type Socket } from 'node:net';
import { systemClock } from '@antipode/runtime';

export interface TestLink {
  /** Where to connect instead: `localhost:port`. */
  readonly address: string;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Bytes that the near side has sent so far, swallowed or not. */
  readonly askedBytes: number;
  /** The first bytes that the far side sent, by connection: for reading a handshake. */
  readonly fromFarSide: readonly Buffer[];
  /** Everything that passed, in both directions, where `isRecording`. */
  recorded(): Buffer;
  /** Resets every connection and refuses new ones until `heal`. */
  cut(): void;
  /** Swallows all bytes of connections that stand and of new ones, which stay up, until `heal`; swallowed bytes are lost. */
  blackHole(): void;
  /** Ends the far side of every connection without a word to the near one, which stays up: as after a crash of a router. */
  halfOpen(): void;
  /** New connections pass again. Those that were black-holed stay so, as a stateful firewall would have it. */
  heal(): void;
  close(): Promise<void>;
}

/** How much of each connection's first bytes is kept: a ServerHello fits. */
const KEPT_BYTES_MAX = 4_096;

/** @param target a port of loopback, or the path of a Unix socket */
export async function openLink(
  target: number | string,
  {
    delayMs = 0,
    isRecording = false,
    host = '127.0.0.1',
  }: { delayMs?: number; isRecording?: boolean; host?: string } = {},
): Promise<TestLink> {
  let state: 'up' | 'cut' | 'black-hole' = 'up';
  let accepted = 0;
  let askedBytes = 0;
  const fromFarSide: Buffer[] = [];
  const recorded: Buffer[] = [];
  const pairs = new Set<{ near: Socket; far: Socket; isSwallowing: boolean }>();

  const server = createServer((near) => {
    if (state === 'cut') return void near.resetAndDestroy();
    const index = accepted;
    accepted += 1;
    fromFarSide[index] = Buffer.alloc(0);
    const far = typeof target === 'number' ? connect(target, '127.0.0.1') : connect(target);
    const pair = { near, far, isSwallowing: state === 'black-hole' };
    pairs.add(pair);
    const pass = (from: Socket, to: Socket): void => {
      const later = (work: () => void): void => {
        if (delayMs === 0) work();
        else void systemClock.sleep(delayMs).then(work);
      };
      from.on('data', (bytes) => {
        if (isRecording) recorded.push(bytes);
        if (from === near) askedBytes += bytes.length;
        if (from === far && fromFarSide[index]!.length < KEPT_BYTES_MAX)
          fromFarSide[index] = Buffer.concat([fromFarSide[index]!, bytes]);
        later(() => !pair.isSwallowing && !to.destroyed && to.write(bytes));
      });
      from.on('error', () => to.destroy());
      from.on('close', () => later(() => !pair.isSwallowing && to.end()));
    };
    pass(near, far);
    pass(far, near);
    near.setNoDelay();
    far.setNoDelay();
    near.on('close', () => far.destroyed && pairs.delete(pair));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('expected a TCP port');

  /** A Unix socket knows no reset. */
  const endFar = (far: Socket): unknown => (typeof target === 'number' ? far.resetAndDestroy() : far.destroy());
  const destroyAll = (): void => {
    for (const { near, far } of pairs) {
      near.resetAndDestroy();
      endFar(far);
    }
    pairs.clear();
  };
  return {
    address: `${host === '127.0.0.1' ? 'localhost' : host}:${bound.port}`,
    get accepted() {
      return accepted;
    },
    get askedBytes() {
      return askedBytes;
    },
    fromFarSide,
    recorded: () => Buffer.concat(recorded),
    cut: () => {
      state = 'cut';
      destroyAll();
    },
    blackHole: () => {
      state = 'black-hole';
      for (const pair of pairs) pair.isSwallowing = true;
    },
    halfOpen: () => {
      for (const pair of pairs) {
        pair.isSwallowing = true;
        endFar(pair.far);
      }
    },
    heal: () => {
      state = 'up';
    },
    close: () => {
      destroyAll();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
