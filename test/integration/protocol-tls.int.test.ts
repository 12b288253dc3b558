/** Who is let in, over real loopback sockets: certificates, authorities, roles, key agreement, rotation. */
import { readFileSync, rmSync } from 'node:fs';
import { createSecureContext, connect as tlsConnect } from 'node:tls';
import {
  type Client,
  CoordinatorService,
  createClient,
  type ExpectedPeer,
  type Handlers,
  MAY_CALL,
  OperatorService,
  RpcServer,
  SiteAgentService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import type { DescService } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openLink } from '../support/proxy.ts';
import { temporaryFolder } from '../support/tokens.ts';
import { makeTrust, swap, type TestTrust } from '../support/trust.ts';

const SERVICES = [SiteAgentService, CoordinatorService, OperatorService] as const;
const KINDS = ['site', 'coordinator', 'operator'] as const;
const folder = temporaryFolder('tls');
const opened: { close(): unknown }[] = [];
let trust: TestTrust;
let stranger: TestTrust;
let serverFiles: TlsFiles;
let port: number;
const called: string[] = [];

/** Handlers that note who got through to them. */
function noting<Service extends DescService>(service: Service): Handlers<Service> {
  const handlers = service.methods.map(({ localName, name, methodKind }) => [
    localName,
    methodKind === 'server_streaming'
      ? async function* () {
          called.push(`${service.name}/${name}`);
          yield {};
        }
      : async () => {
          called.push(`${service.name}/${name}`);
          return {};
        },
  ]);
  return Object.fromEntries(handlers) as Handlers<Service>;
}

async function serve(files: TlsFiles): Promise<number> {
  const server = new RpcServer({ tls: files, log: silentLog });
  server.add(SiteAgentService, noting(SiteAgentService));
  server.add(CoordinatorService, noting(CoordinatorService));
  server.add(OperatorService, noting(OperatorService));
  opened.push({ close: () => server.close(0) });
  return server.listen('localhost:0');
}

function dial(tls: Tls | TlsFiles, { at = port, expected = { kind: 'site', name: 'a' } as ExpectedPeer } = {}) {
  const client = createClient(SiteAgentService, { address: `localhost:${at}`, tls, expected });
  opened.push(client);
  return client;
}

beforeAll(async () => {
  trust = await makeTrust(folder);
  stranger = await makeTrust(temporaryFolder('tls-stranger'));
  serverFiles = await trust.issue({ kind: 'site', name: 'a' });
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
  called.length = 0;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the authorisation table', () => {
  it('has a row for every method of every service, and no other', () => {
    const methods = SERVICES.flatMap((service) => service.methods.map(({ name }) => `${service.name}/${name}`));
    expect(Object.keys(MAY_CALL).sort()).toEqual(methods.sort());
  });

  it('lets each kind of caller through to its own methods, and refuses it every other', async () => {
    port = await serve(serverFiles);
    for (const kind of KINDS) {
      const files = await trust.issue({ kind, name: 'caller' });
      const tls = new Tls(files);
      for (const service of SERVICES) {
        const client = createClient(service as DescService, {
          address: `localhost:${port}`,
          tls,
          expected: { kind: 'site', name: 'a' },
        });
        opened.push(client);
        for (const method of service.methods) {
          const name = `${service.name}/${method.name}`;
          const code = await outcome(client, method);
          const mayCall = MAY_CALL[name]!.includes(kind);
          expect([kind, name, code === 'PEER_REFUSED']).toEqual([kind, name, !mayCall]);
          if (!mayCall) expect(called).not.toContain(name);
        }
        called.length = 0;
      }
    }
  });

  async function outcome(client: Client<DescService>, method: DescService['methods'][number]): Promise<string> {
    const call = (client as unknown as Record<string, (request: object) => unknown>)[method.localName]!;
    try {
      const answer = call({});
      if (method.methodKind === 'server_streaming') for await (const _ of answer as AsyncIterable<unknown>);
      else await answer;
      return 'ok';
    } catch (error) {
      if (error instanceof AntipodeError) return error.code;
      throw error;
    }
  }
});

describe('a server', () => {
  it('refuses a client without a certificate, and one whose certificate another authority signed', async () => {
    port = await serve(serverFiles);
    const ca = readFileSync(serverFiles.caFile);
    const strange = await stranger.issue({ kind: 'coordinator', name: 'one' });
    const pair = { cert: readFileSync(strange.certificateFile), key: readFileSync(strange.keyFile) };
    for (const context of [{ ca }, { ca, ...pair }]) {
      const ended = await new Promise<string>((resolve) => {
        const socket = tlsConnect({
          port,
          host: 'localhost',
          secureContext: createSecureContext({ ...context, minVersion: 'TLSv1.3' }),
          ALPNProtocols: ['h2'],
          checkServerIdentity: () => undefined,
        });
        socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
        socket.on('close', () => resolve('closed'));
        socket.on('data', () => resolve('answered'));
      });
      expect(ended).not.toBe('answered');
    }
    expect(called).toEqual([]);
  });

  it('refuses a client of another authority that trusts this one', async () => {
    port = await serve(serverFiles);
    const files = await stranger.issue(
      { kind: 'coordinator', name: 'one' },
      { caPem: trust.authority.certificatePem + stranger.authority.certificatePem },
    );
    const error = await rejection(dial(files).ping({}));
    expect(['CERTIFICATE_INVALID', 'SITE_UNREACHABLE']).toContain(error.code);
    expect(called).toEqual([]);
  });

  it('refuses a caller of another trust domain under the same authority', async () => {
    port = await serve(serverFiles);
    // A client of the right domain makes the connection; what its certificate says is another domain.
    const files = await trust.issue({ kind: 'coordinator', name: 'one', trustDomain: 'elsewhere.example' });
    const client = dial(files);
    const error = await rejection(client.ping({}));
    expect(error.code).toBe('PEER_REFUSED');
    expect(called).toEqual([]);
  });

  it('refuses TLS 1.2 and a client without the post-quantum key agreement', async () => {
    port = await serve(serverFiles);
    const own = await trust.issue({ kind: 'coordinator', name: 'one' });
    const base = {
      ca: readFileSync(own.caFile),
      cert: readFileSync(own.certificateFile),
      key: readFileSync(own.keyFile),
    };
    const attempt = (options: object): Promise<string> =>
      new Promise((resolve) => {
        const socket = tlsConnect({
          port,
          host: 'localhost',
          ALPNProtocols: ['h2'],
          checkServerIdentity: () => undefined,
          ...base,
          ...options,
        });
        socket.on('secureConnect', () => {
          resolve(`connected ${socket.getProtocol()}`);
          socket.destroy();
        });
        socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? 'error'));
      });
    expect(await attempt({ minVersion: 'TLSv1.3', ecdhCurve: 'X25519MLKEM768' })).toBe('connected TLSv1.3');
    expect(await attempt({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ecdhCurve: 'auto' })).not.toContain(
      'connected',
    );
    expect(await attempt({ minVersion: 'TLSv1.3', ecdhCurve: 'X25519' })).not.toContain('connected');
  });

  it('agrees on X25519MLKEM768 with our own client, as the ServerHello shows', async () => {
    port = await serve(serverFiles);
    const link = await openLink(port);
    opened.push(link);
    const [, linkPort] = link.address.split(':');
    await dial(await trust.issue({ kind: 'coordinator', name: 'one' }), { at: Number(linkPort) }).ping({});
    // key_share (51) in a ServerHello: extension type, length, group 0x11ec (RFC 8446 4.2.8, ML-KEM hybrid draft).
    const hello = link.fromFarSide[0]!;
    const at = hello.indexOf(Buffer.from('0033', 'hex'));
    expect(hello.subarray(at + 4, at + 6).toString('hex')).toBe('11ec');
  });
});

describe('a client', () => {
  it('refuses a server with another name, another kind, or another authority', async () => {
    port = await serve(serverFiles);
    const own = await trust.issue({ kind: 'coordinator', name: 'one' });
    expect((await rejection(dial(own, { expected: { kind: 'site', name: 'b' } }).ping({}))).code).toBe('PEER_REFUSED');
    expect((await rejection(dial(own, { expected: { kind: 'coordinator' } }).ping({}))).code).toBe('PEER_REFUSED');
    const strange = await stranger.issue({ kind: 'coordinator', name: 'one' });
    expect((await rejection(dial(strange).ping({}))).code).toBe('CERTIFICATE_INVALID');
    expect(called).toEqual([]);
  });

  it('does not start with a certificate that has expired, or does not match its key', async () => {
    const expired = await trust.issue({ kind: 'site', name: 'a' }, { agoDays: 60 });
    const other = await trust.issue({ kind: 'site', name: 'a' });
    const codeOf = (files: TlsFiles): string => {
      try {
        new Tls(files);
        return 'accepted';
      } catch (error) {
        return (error as AntipodeError).code;
      }
    };
    expect(codeOf(expired)).toBe('CERTIFICATE_INVALID');
    expect(codeOf({ ...other, keyFile: serverFiles.keyFile })).toBe('CERTIFICATE_INVALID');
    expect(codeOf({ ...other, keyFile: '/nowhere' })).toBe('CERTIFICATE_INVALID');
    expect(codeOf(other)).toBe('accepted');
  });

  it('takes a new certificate from its files without a restart', async () => {
    const own = await trust.issue({ kind: 'operator', name: 'alice' });
    const tls = new Tls(own, { refreshMs: 20 });
    port = await serve(serverFiles);
    expect((await rejection(dial(tls).ping({}))).code).toBe('PEER_REFUSED');
    swap(own, await trust.issue({ kind: 'coordinator', name: 'one' }));
    // New connections carry the new certificate once it has been noticed.
    for (;;) {
      const client = createClient(SiteAgentService, {
        address: `localhost:${port}`,
        tls,
        expected: { kind: 'site', name: 'a' },
      });
      const error = await client.ping({}).then(
        () => undefined,
        (thrown: unknown) => thrown as AntipodeError,
      );
      client.close();
      if (error === undefined) break;
      expect(error.code).toBe('PEER_REFUSED');
    }
    expect(called).toEqual(['SiteAgentService/Ping']);
  });
});
