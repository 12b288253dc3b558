/** Ids of calls over real sockets: an operator finds the line of a failed call in the log of the server. */
import { rmSync } from 'node:fs';
import { type Client, createClient, type Handlers, OperatorService, RpcServer, Tls } from '@antipode/protocol';
import { AntipodeError, Log } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { Client as GrpcClient, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust } from '../../support/trust.ts';

type Operator = Handlers<typeof OperatorService>;

const folder = temporaryFolder('call-ids');
const opened: { close(): unknown }[] = [];
let coordinator: Tls;
let operator: Tls;
let site: Tls;
let written: { level: string; message: string; call?: string; peer?: string }[];

beforeAll(async () => {
  const trust = await makeTrust(folder);
  coordinator = new Tls(await trust.issue({ kind: 'coordinator', name: 'one' }));
  operator = new Tls(await trust.issue({ kind: 'operator', name: 'alice' }));
  site = new Tls(await trust.issue({ kind: 'site', name: 'a' }));
});
beforeEach(() => {
  written = [];
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve(given: Partial<Operator> = {}): Promise<number> {
  const log = new Log({ level: 'info', format: 'json', write: (line) => written.push(JSON.parse(line)) });
  const server = new RpcServer({ tls: coordinator, log });
  const refuse = async (): Promise<never> => Promise.reject(new AntipodeError('NOT_FOUND', 'no such group'));
  const others = Object.fromEntries(OperatorService.methods.map(({ localName }) => [localName, refuse]));
  server.add(OperatorService, { ...others, ...given } as Operator);
  const port = await server.listen('localhost:0');
  opened.push({ close: () => server.close(0) });
  return port;
}

function dial(port: number, options: { tls?: Tls; hasCallIds?: boolean } = {}): Client<typeof OperatorService> {
  const expected = { kind: 'coordinator' as const, name: 'one' };
  const client = createClient(OperatorService, {
    address: `localhost:${port}`,
    tls: operator,
    expected,
    hasCallIds: true,
    ...options,
  });
  opened.push(client);
  return client;
}

const idOf = (error: AntipodeError): unknown => error.details['callId'];
const linesOf = (id: unknown) => written.filter(({ call }) => call === id);

it('a call that fails is in the log of the server under the id in its error', async () => {
  const client = dial(await serve());
  const errors = [await rejection(client.getGroup({ group: 'g' })), await rejection(client.getGroup({ group: 'g' }))];
  const ids = errors.map(idOf);
  expect(new Set(ids).size).toBe(2);
  for (const id of ids)
    expect(linesOf(id)).toEqual([
      expect.objectContaining({ level: 'info', message: 'call failed', method: 'OperatorService/GetGroup' }),
    ]);
});

it('a call that succeeds, and one without an id, leave no line', async () => {
  const port = await serve({ listGroups: async () => ({ groups: [] }) });
  await dial(port).listGroups({});
  expect(idOf(await rejection(dial(port, { hasCallIds: false }).getGroup({ group: 'g' })))).toBeUndefined();
  expect(written).toEqual([]);
});

it('a call that was refused before it was read is there too, however often', async () => {
  const client = dial(await serve(), { tls: site });
  const errors = [await rejection(client.getStatus({})), await rejection(client.getStatus({}))];
  expect(errors.map(({ code }) => code)).toEqual(['PEER_REFUSED', 'PEER_REFUSED']);
  for (const error of errors) expect(linesOf(idOf(error)).map(({ message }) => message)).toEqual(['call refused']);
});

it('a call that got no answer in time has the id of the line that the server ends it with', async () => {
  const ended = Promise.withResolvers<void>();
  const port = await serve({
    getGroup: async (_request, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      // The line is written behind this handler.
      setImmediate(ended.resolve);
      return {};
    },
  });
  const error = await rejection(dial(port).getGroup({ group: 'g' }, { timeoutMs: 500 }));
  await ended.promise;
  expect(error.code).toBe('TIMED_OUT');
  expect(linesOf(idOf(error)).map(({ message }) => message)).toEqual(['call given up by its caller']);
});

it('a call that found nobody has no id', async () => {
  const port = await serve();
  await opened.pop()?.close();
  expect(idOf(await rejection(dial(port).getGroup({ group: 'g' }, { timeoutMs: 2_000 })))).toBeUndefined();
});

it.each([
  [['x'.repeat(4_000)]],
  [['0123456789ABCDEF']],
  [['id of nobody']],
  [['0123456789abcdef', '0123456789abcdef']],
])('a caller that invents ids is answered like one without ids: %.40s', async (sent) => {
  const port = await serve();
  const raw = new GrpcClient(
    `localhost:${port}`,
    operator.clientCredentials({ kind: 'coordinator', name: 'one' }, { report: () => {}, handshakeMs: 5_000 }),
    { 'grpc.ssl_target_name_override': 'one.coordinator.antipode.internal' },
  );
  opened.push(raw);
  const metadata = new Metadata();
  for (const one of sent) metadata.add('antipode-call-id', one);
  const path = `/${OperatorService.typeName}/GetStatus`;
  const asIs = (bytes: Buffer): Buffer => bytes;
  const error = await new Promise<ServiceError | null>((resolve) =>
    raw.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), metadata, resolve),
  );
  expect(error?.metadata.get('antipode-error-bin')).toHaveLength(1);
  expect(error?.metadata.get('antipode-call-id')).toEqual([]);
  expect(written).toEqual([]);
});
