/** Admission of callers, over real loopback sockets: certificates, authorities, roles, key agreement, rotation. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import {
  type Caller,
  CertificateService,
  type Client,
  CoordinatorService,
  createClient,
  type ExpectedPeer,
  type Handlers,
  type Identity,
  MAY_CALL,
  OPERATOR_ROLES,
  OperatorService,
  ResolverService,
  RevocationService,
  RpcServer,
  SiteAgentService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { AntipodeError, Log } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import type { DescService } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust, swap, type TestTrust } from '../../support/trust.ts';

const SERVICES = [
  SiteAgentService,
  CoordinatorService,
  CertificateService,
  OperatorService,
  ResolverService,
  RevocationService,
] as const;
const CALLERS: readonly Pick<Identity, 'kind' | 'role'>[] = [
  { kind: 'site' },
  { kind: 'coordinator' },
  { kind: 'application' },
  { kind: 'operator' },
  ...OPERATOR_ROLES.map((role) => ({ kind: 'operator', role }) as const),
];
/** The rows of the table that admit a caller. */
const ROWS: Record<string, readonly Caller[]> = {
  viewer: ['viewer'],
  operator: ['viewer', 'operator'],
  security: ['viewer', 'operator', 'security'],
};
const folder = temporaryFolder('tls');
const strangerFolder = temporaryFolder('tls-stranger');
const opened: { close(): unknown }[] = [];
let trust: TestTrust;
let stranger: TestTrust;
let serverFiles: TlsFiles;
let port: number;
const called: string[] = [];
const serverLines: string[] = [];

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
  const server = new RpcServer({
    tls: files,
    log: new Log({ level: 'info', format: 'json', write: (line) => serverLines.push(line) }),
  });
  server.add(SiteAgentService, noting(SiteAgentService));
  server.add(CoordinatorService, noting(CoordinatorService));
  server.add(CertificateService, noting(CertificateService));
  server.add(OperatorService, noting(OperatorService));
  server.add(ResolverService, noting(ResolverService));
  server.add(RevocationService, noting(RevocationService));
  opened.push({ close: () => server.close(0) });
  return server.listen('localhost:0');
}

const serverPem = () => ({
  ca: readFileSync(serverFiles.caFile),
  cert: readFileSync(serverFiles.certificateFile),
  key: readFileSync(serverFiles.keyFile),
});

function dial(tls: Tls | TlsFiles, { at = port, expected = { kind: 'site', name: 'a' } as ExpectedPeer } = {}) {
  const client = createClient(SiteAgentService, { address: `localhost:${at}`, tls, expected });
  opened.push(client);
  return client;
}

beforeAll(async () => {
  trust = await makeTrust(folder);
  stranger = await makeTrust(strangerFolder);
  serverFiles = await trust.issue({ kind: 'site', name: 'a' });
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
  called.length = 0;
  serverLines.length = 0;
});
afterAll(() => {
  for (const one of [folder, strangerFolder]) rmSync(one, { recursive: true, force: true });
});

describe('the authorisation table', () => {
  it('has a row for every method of every service, and no other', () => {
    const methods = SERVICES.flatMap((service) => service.methods.map(({ name }) => `${service.name}/${name}`));
    expect(Object.keys(MAY_CALL).sort()).toEqual(methods.sort());
  });

  it('lets each kind of caller through to its own methods, and refuses it every other', async () => {
    port = await serve(serverFiles);
    for (const caller of CALLERS) {
      const who = caller.role ?? (caller.kind === 'operator' ? 'without a role' : caller.kind);
      const rows: readonly Caller[] =
        ROWS[who] ?? (caller.kind === 'operator' ? ['viewer', 'operator', 'without-role'] : [caller.kind]);
      const files = await trust.issue({ ...caller, name: 'caller' });
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
          const mayCall = MAY_CALL[name]!.some((one) => rows.includes(one));
          const isRefused = code === 'PEER_REFUSED' || code === 'OPERATOR_ROLE_INSUFFICIENT';
          expect([who, name, isRefused]).toEqual([who, name, !mayCall]);
          if (!mayCall) expect(called).not.toContain(name);
        }
        called.length = 0;
      }
    }
  });

  async function outcome(client: Client<DescService>, method: DescService['methods'][number]): Promise<string> {
    const call: (request: object) => unknown = Reflect.get(client, method.localName);
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
    // The caller sees little: the log of the server has the reason, and once however often it comes back.
    await rejection(dial(files).ping({}));
    const told = () => serverLines.filter((line) => line.includes('a caller was refused'));
    await expect.poll(() => told().length, { timeout: 20_000 }).toBeGreaterThan(0);
    const said = told();
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/"reason":"[A-Z_]+"/);
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

  it('says why the last attempt failed, although the next one is under way', async () => {
    port = await serve(serverFiles);
    const link = await openLink(port);
    opened.push(link);
    const own = await trust.issue({ kind: 'coordinator', name: 'one' });
    const client = dial(own, { at: Number(link.address.split(':')[1]), expected: { kind: 'site', name: 'b' } });
    expect((await rejection(client.ping({}))).code).toBe('PEER_REFUSED');
    link.blackHole();
    const before = link.accepted;
    await expect.poll(() => link.accepted, { timeout: 20_000 }).toBeGreaterThan(before);
    expect((await rejection(client.ping({}))).code).toBe('PEER_REFUSED');
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

  it('takes a new certificate from its files without a restart, and says who it is to the server', async () => {
    const own = await trust.issue({ kind: 'coordinator', name: 'one' });
    const tls = new Tls(own, { refreshMs: 20 });
    const next = await trust.issue({ kind: 'coordinator', name: 'one' });
    const shown: string[] = [];
    const context = { ...serverPem(), requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] };
    const server = createTlsServer(context, (socket) => {
      shown.push(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
      socket.destroy();
    });
    server.listen(0, 'localhost');
    await once(server, 'listening');
    const at = (server.address() as AddressInfo).port;
    const wanted = new X509Certificate(readFileSync(next.certificateFile)).fingerprint256;
    await rejection(dial(tls, { at }).ping({}));
    expect(shown).not.toContain(wanted);
    swap(own, next);
    // New connections carry the new certificate once it has been noticed.
    while (shown.at(-1) !== wanted) await rejection(dial(tls, { at }).ping({}));
    server.close();
  });

  it('keeps its certificate where the files hold the key of another, and both sides go on', async () => {
    const own = await trust.issue({ kind: 'coordinator', name: 'one' });
    const lines: string[] = [];
    const log = new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) });
    const tls = new Tls(own, { refreshMs: 20, log });
    port = await serve(serverFiles);
    await dial(tls).ping({});
    writeFileSync(own.keyFile, readFileSync((await trust.issue({ kind: 'coordinator', name: 'one' })).keyFile));
    while (!lines.join().includes('is not the key of')) await dial(tls).ping({});
    await dial(tls).ping({});
    expect(tls.state.problem).toMatchObject({ code: 'CERTIFICATE_INVALID' });
  });
});
