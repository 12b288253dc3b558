/**
 * Memory and loop delay of a server under attack, by one certificate of the trust domain and by strangers without one.
 * `node test/bench/measures/hostile-peer.ts` prints one line of JSON. The server is a process of its own.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { OperatorService, RpcServer, SiteAgentService, type TlsFiles } from '@antipode/protocol';
import { measureLoopDelay, silentLog, systemClock } from '@antipode/runtime';
import { makeTrust } from '../../support/trust.ts';

const MIB = 1024 * 1024;
const STREAMS = 10_000;
const CONNECTIONS = 20;

interface Seen {
  readonly rssMiB: number;
  readonly loopDelayMs: number;
}

if (process.send === undefined) await attack();
else await serve(JSON.parse(process.argv[2] ?? '{}') as TlsFiles);

/** Both services of an installation on one port, with handlers that answer at once. */
async function serve(tls: TlsFiles): Promise<void> {
  process.on('disconnect', () => process.exit(0));
  const server = new RpcServer({ tls, log: silentLog });
  const answering = (methods: readonly { localName: string }[]): never =>
    Object.fromEntries(methods.map(({ localName }) => [localName, async () => ({})])) as never;
  server.add(SiteAgentService, answering(SiteAgentService.methods));
  server.add(OperatorService, answering(OperatorService.methods));
  const port = await server.listen('localhost:0');
  const delay = measureLoopDelay();
  let rss = 0;
  process.on('message', () => {
    process.send!({ rssMiB: rss / MIB, loopDelayMs: delay.maxMs() } satisfies Seen);
    rss = 0;
  });
  process.send!({ port });
  for (;;) {
    rss = Math.max(rss, process.memoryUsage.rss());
    await systemClock.sleep(20);
  }
}

async function attack(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-hostile-'));
  const trust = await makeTrust(folder);
  const [site, operator] = [
    await trust.issue({ kind: 'site', name: 'a' }),
    await trust.issue({ kind: 'operator', name: 'eve' }),
  ];
  const child = fork(import.meta.filename, [JSON.stringify(site)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const heard = <T>(): Promise<T> =>
    new Promise((resolve) => child.once('message', (message) => resolve(message as T)));
  const { port } = await heard<{ port: number }>();
  const seen = async (): Promise<Seen> => {
    const answer = heard<Seen>();
    child.send('seen');
    return answer;
  };
  const opened: { destroy(): void }[] = [];
  const [ca, cert, key] = [operator.caFile, operator.certificateFile, operator.keyFile].map((path) =>
    readFileSync(path),
  );
  const session = (): ClientHttp2Session => {
    const made = connectHttp2(`https://localhost:${port}`, {
      ca: ca!,
      cert: cert!,
      key: key!,
      checkServerIdentity: () => undefined,
      maxSessionMemory: 65_536,
    });
    made.on('error', () => {});
    opened.push(made);
    return made;
  };
  const headOf16MiB = Buffer.from('0001000000', 'hex');
  const body = Buffer.alloc(16 * MIB);
  const stream = (on: ClientHttp2Session, path: string, bytes: readonly Buffer[]): Promise<void> =>
    new Promise((resolve) => {
      if (on.destroyed) return resolve();
      const one = on.request(
        { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
        { endStream: false },
      );
      one
        .on('error', () => {})
        .once('close', () => resolve())
        .resume();
      for (const part of bytes) one.write(part);
    });
  const stranger = (): Socket => {
    const socket = connect(port, 'localhost').on('error', () => {});
    opened.push(socket);
    return socket;
  };

  await Promise.all(
    Array.from({ length: 50 }, () => stream(session(), '/antipode.v1.SiteAgentService/Ping', [])).map((one) =>
      Promise.race([one, systemClock.sleep(500)]),
    ),
  );
  for (const one of opened.splice(0)) one.destroy();
  await systemClock.sleep(2_000);
  const rest = await seen();
  const during = async (name: string, work: () => unknown, ms: number): Promise<[string, Seen]> => {
    await seen();
    await work();
    await systemClock.sleep(ms);
    const worst = await seen();
    for (const one of opened.splice(0)) one.destroy();
    await systemClock.sleep(500);
    return [name, { rssMiB: Math.round(worst.rssMiB - rest.rssMiB), loopDelayMs: worst.loopDelayMs }];
  };
  const attacks = [
    await during(
      '100 streams of 16 MiB to a method of others',
      () => {
        const on = session();
        for (let index = 0; index < 100; index += 1)
          void stream(on, '/antipode.v1.SiteAgentService/Capture', [headOf16MiB, body]);
      },
      6_000,
    ),
    await during(
      '100 streams of 1 MiB without an end to a method of its own',
      () => {
        const on = session();
        for (let index = 0; index < 100; index += 1)
          void stream(on, '/antipode.v1.OperatorService/CreateGroup', [
            Buffer.from('0000100000', 'hex'),
            body.subarray(0, MIB - 1),
          ]);
      },
      6_000,
    ),
    await during(
      `${STREAMS} streams that never send their message, over ${CONNECTIONS} connections`,
      () => {
        for (let at = 0; at < CONNECTIONS; at += 1) {
          const on = session();
          for (let index = 0; index < STREAMS / CONNECTIONS; index += 1)
            void stream(on, '/antipode.v1.OperatorService/GetStatus', [headOf16MiB.subarray(0, 4)]);
        }
      },
      6_000,
    ),
    await during(
      `${STREAMS} streams that are refused`,
      () => {
        for (let at = 0; at < CONNECTIONS; at += 1) {
          const on = session();
          for (let index = 0; index < STREAMS / CONNECTIONS; index += 1)
            void stream(on, '/antipode.v1.SiteAgentService/Capture', [headOf16MiB]);
        }
      },
      6_000,
    ),
    await during(
      '1000 connections of strangers whose handshake never ends',
      () => {
        for (let index = 0; index < 1_000; index += 1) stranger().write(Buffer.from('160301', 'hex'));
      },
      6_000,
    ),
    await during(
      'headers that never end, on 200 connections',
      () => {
        for (let index = 0; index < 200; index += 1) {
          const socket = connectTls({
            port,
            host: 'localhost',
            ca: ca!,
            cert: cert!,
            key: key!,
            ALPNProtocols: ['h2'],
            checkServerIdentity: () => undefined,
          });
          opened.push(socket.on('error', () => {}));
          // The preface, no settings, and a HEADERS frame that announces 16 KiB and brings one byte.
          socket.write(
            Buffer.concat([
              Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
              Buffer.from('000000040000000000' + '00400001000000000100', 'hex'),
            ]),
          );
        }
      },
      6_000,
    ),
    await during('nothing', () => {}, 3_000),
  ];
  process.stdout.write(
    `${JSON.stringify({ restRssMiB: Math.round(rest.rssMiB), attacks: Object.fromEntries(attacks) })}\n`,
  );
  child.kill();
  rmSync(folder, { recursive: true, force: true });
}
