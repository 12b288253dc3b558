/** Revoked peers, over real loopback sockets: nothing is called, nothing is served, and what stands is cut. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  CertificateService,
  type Client,
  CoordinatorService,
  createClient,
  describeCertificate,
  exchangeRevocations,
  type Handlers,
  identityUri,
  isUnreachable,
  OperatorService,
  ResolverService,
  type Revocation,
  RevocationBook,
  RevocationService,
  RpcServer,
  revocationHandlers,
  SiteAgentService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { SomeOperators, someRevocation, someRevocations } from '@antipode/protocol/testing';
import { AntipodeError, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
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
const operators = new SomeOperators();
const folder = temporaryFolder('revocation');
const opened: { close(): unknown }[] = [];
let trust: TestTrust;
let serverFiles: TlsFiles;
let book: RevocationBook;
let books = 0;
let port: number;
let server: RpcServer;
/** How the streams of the server have ended. */
const streamEnds: string[] = [];

const bookOf = (): RevocationBook => {
  books += 1;
  const file = join(folder, `list-${books}.json`);
  return new RevocationBook({ file, trustDomain: 'test.example', rules: operators.revocationRules });
};
const tlsWith = (files: TlsFiles, own = bookOf()): Tls => {
  const tls = new Tls(files);
  tls.obey(own);
  return tls;
};
const certificateOf = ({ certificateFile }: TlsFiles): Revocation => {
  const { fingerprint, notAfter } = describeCertificate(readFileSync(certificateFile, 'utf8'));
  const subject = { kind: 'certificate', subject: fingerprint, issuedBefore: '', name: '' } as const;
  return someRevocation({ ...subject, ends: notAfter.toISOString() });
};
const revoke = (entries: readonly Revocation[], at = book): boolean =>
  at.take(operators.signRevocations(someRevocations(entries, at.held?.list)));

function handlersOf(service: DescService): Handlers<DescService> {
  const some: object = {
    ping: async () => ({ site: 'a' }),
    // It goes on until its caller is gone.
    pullBlobs: async function* (_request: unknown, { signal }: { signal: AbortSignal }) {
      yield {};
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      streamEnds.push('aborted');
    },
    ...revocationHandlers({ book, process: 'site/a', ownRefusal: () => undefined }),
  };
  const handlers = service.methods.map(({ localName, methodKind }) => [
    localName,
    Reflect.get(some, localName) ??
      (methodKind === 'server_streaming'
        ? async function* () {
            yield {};
          }
        : async () => ({})),
  ]);
  return Object.fromEntries(handlers) as Handlers<DescService>;
}

function dial<Service extends DescService>(service: Service, tls: Tls | TlsFiles): Client<Service> {
  const expected = { kind: 'site', name: 'a' } as const;
  const client = createClient(service, { address: `localhost:${port}`, tls, expected });
  opened.push(client);
  return client;
}

beforeAll(async () => {
  trust = await makeTrust(folder);
  serverFiles = await trust.issue({ kind: 'site', name: 'a' });
});
beforeEach(async () => {
  book = bookOf();
  streamEnds.length = 0;
  server = new RpcServer({ tls: tlsWith(serverFiles, book), log: silentLog });
  for (const service of SERVICES) server.add(service as DescService, handlersOf(service));
  opened.push({ close: () => server.close(0) });
  port = await server.listen('localhost:0');
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The first answer: a client looks for its certificate, and connects again, within a second or two. */
async function answered(client: Client<typeof SiteAgentService>): Promise<unknown> {
  for (const endMs = systemClock.monotonicMs() + 10_000; ; ) {
    try {
      return await client.ping({});
    } catch (thrown) {
      if (systemClock.monotonicMs() > endMs) throw thrown;
      await systemClock.sleep(20);
    }
  }
}

/** The code of the answer to an empty request. */
async function outcome(client: Client<DescService>, method: DescMethod): Promise<string> {
  const call = Reflect.get(client, method.localName) as (request: object) => unknown;
  try {
    const answer = call({});
    if (method.methodKind === 'server_streaming')
      for await (const _message of answer as AsyncIterable<unknown>) return 'answered';
    else await answer;
    return 'answered';
  } catch (thrown) {
    const { code, details } = AntipodeError.from(thrown);
    return `${code}${details['answeredBy'] === undefined ? '' : ' by the server'}`;
  }
}

describe('a revoked caller', () => {
  it('is refused every method of every service, whatever it might call before', async () => {
    const callers = [
      { kind: 'site' },
      { kind: 'coordinator' },
      { kind: 'application' },
      { kind: 'operator' },
      { kind: 'operator', role: 'security' },
    ] as const;
    const issued = await Promise.all(callers.map((caller) => trust.issue({ ...caller, name: 'thief' })));
    const found = async (tls: Tls): Promise<Set<string>> => {
      const all = new Set<string>();
      for (const service of SERVICES) {
        const client = dial(service as DescService, tls);
        for (const method of service.methods) all.add(await outcome(client, method));
      }
      return all;
    };
    expect(await found(new Tls(issued[0]!))).not.toContain('CERTIFICATE_REVOKED by the server');
    revoke(issued.map(certificateOf));
    for (const files of issued)
      expect([...(await found(new Tls(files)))]).toEqual(['CERTIFICATE_REVOKED by the server']);
    expect(server.revokedCalls).toBe(
      issued.length * SERVICES.reduce((count, service) => count + service.methods.length, 0),
    );
  });

  it('loses its streams and its calls under way at once, and nobody else does', async () => {
    const [stolen, other] = [
      await trust.issue({ kind: 'site', name: 'b' }),
      await trust.issue({ kind: 'site', name: 'c' }),
    ];
    const streams = [stolen, other].map((files) => dial(SiteAgentService, files).pullBlobs({})[Symbol.asyncIterator]());
    for (const stream of streams) expect((await stream.next()).done).toBe(false);
    const cut = rejection(streams[0]!.next());
    revoke([certificateOf(stolen)]);
    expect(await cut).toMatchObject({ code: 'SITE_UNREACHABLE' });
    expect(await rejection(dial(SiteAgentService, stolen).ping({}))).toMatchObject({
      code: 'CERTIFICATE_REVOKED',
      details: { version: 1, answeredBy: 'site a' },
    });
    expect(await dial(SiteAgentService, other).ping({})).toMatchObject({ site: 'a' });
    expect(streamEnds).toEqual(['aborted']);
    await streams[1]!.return?.();
  });

  it('works again with another certificate, from its next call on, while its process runs', async () => {
    const files = await trust.issue({ kind: 'site', name: 'b' });
    const tls = new Tls(files, { refreshMs: 20 });
    const client = dial(SiteAgentService, tls);
    await client.ping({});
    const { identity } = describeCertificate(readFileSync(files.certificateFile, 'utf8'));
    const issuedBefore = new Date(systemClock.wallMs() + 1).toISOString();
    revoke([someRevocation({ name: identityUri(identity!), issuedBefore })]);
    await rejection(client.ping({}));
    expect(await rejection(client.ping({}))).toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    swap(files, await trust.issue({ kind: 'site', name: 'b' }));
    expect(await answered(client)).toMatchObject({ site: 'a' });
  });

  it('is served again after the next version of the list is without it', async () => {
    const files = await trust.issue({ kind: 'site', name: 'b' });
    revoke([certificateOf(files)]);
    const client = dial(SiteAgentService, files);
    expect(await rejection(client.ping({}))).toMatchObject({ code: 'CERTIFICATE_REVOKED' });
    revoke([]);
    expect(await client.ping({})).toMatchObject({ site: 'a' });
  });
});

describe('a revoked server', () => {
  it('is not called, and what is under way there ends', async () => {
    const own = bookOf();
    const callerTls = tlsWith(await trust.issue({ kind: 'site', name: 'b' }), own);
    const client = dial(SiteAgentService, callerTls);
    const stream = client.pullBlobs({})[Symbol.asyncIterator]();
    await stream.next();
    const cut = rejection(stream.next());
    revoke([certificateOf(serverFiles)], own);
    const errors = [await cut, await rejection(client.ping({}))];
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'CERTIFICATE_REVOKED', details: { connection: true } });
      // To its caller it is a site that is lost.
      expect(isUnreachable(error)).toBe(true);
    }
    // Only the list itself is still brought there: an honest process must hear of it.
    const bringing = createClient(RevocationService, {
      address: `localhost:${port}`,
      tls: callerTls,
      expected: { kind: 'site', name: 'a' },
      evenRevoked: true,
    });
    opened.push(bringing);
    await exchangeRevocations(own, bringing, { timeoutMs: 5_000, signal: new AbortController().signal });
    expect(book.version).toBe(1);
    revoke([], own);
    expect(await answered(client)).toMatchObject({ site: 'a' });
  });
});

describe('the list over the wire', () => {
  it('is brought by an operator with role security, and by nobody else', async () => {
    const signed = operators.signRevocations(someRevocations());
    const list = { list: signed.list, signatures: [...signed.signatures] };
    for (const role of [undefined, 'viewer', 'operator'] as const) {
      const files = await trust.issue({ kind: 'operator', name: 'olga', ...(role === undefined ? {} : { role }) });
      const refused = rejection(dial(RevocationService, files).submitRevocations({ list }));
      expect(await refused).toMatchObject({ code: 'OPERATOR_ROLE_INSUFFICIENT' });
    }
    const security = dial(RevocationService, await trust.issue({ kind: 'operator', name: 'olga', role: 'security' }));
    expect(await security.submitRevocations({ list })).toMatchObject({ process: 'site/a', state: { version: 1 } });
    const viewer = dial(RevocationService, await trust.issue({ kind: 'operator', name: 'olga', role: 'viewer' }));
    const { state, list: held } = await viewer.getRevocations({});
    expect([state?.version, Buffer.from(held?.list ?? [])]).toEqual([1, Buffer.from(signed.list)]);
  });

  it('fits into a message with as many entries as it may have', async () => {
    const entries = Array.from({ length: 400 }, (_, at) =>
      someRevocation({
        ...certificateOf(serverFiles),
        subject: at.toString(16).padStart(64, '0'),
        reason: 'x'.repeat(180),
      }),
    );
    const signed = operators.signRevocations(someRevocations(entries));
    const files = await trust.issue({ kind: 'operator', name: 'olga', role: 'security' });
    const security = dial(RevocationService, files);
    await security.submitRevocations({ list: { list: signed.list, signatures: [...signed.signatures] } });
    expect((await security.getRevocations({})).list?.list.length).toBe(signed.list.length);
    expect(signed.list.length).toBeGreaterThan(150 * 1000);
  });
});
