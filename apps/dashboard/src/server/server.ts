/** The local server: files of the page for everybody who may speak to it, everything else in a session only. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { AntipodeError, type Closeable } from '@antipode/runtime';
import { toldOf } from '../model/watcher.ts';
import type { Asset, Assets } from './assets.ts';
import type { Gate } from './gate.ts';
import { HEADERS } from './headers.ts';

/** A request of the page names a group and a few words. */
const BODY_BYTES_MAX = 16 * 1024;
const REQUEST_MS_MAX = 15_000;
/** Pages that are open: tabs of one operator, or the people behind a proxy. */
const CONNECTIONS_MAX = 256;

export interface Call {
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** By method and path, `POST /api/plan`. Each is called in a session. */
export type Routes = Readonly<Record<string, (call: Call) => Promise<unknown>>>;

export interface ServerPorts {
  readonly gate: () => Gate;
  readonly assets: Assets;
  readonly routes: Routes;
  readonly stream: (response: ServerResponse) => void;
  /** Called when the printed token has been used, and there is another one. */
  readonly opened: () => void;
}

export class DashboardServer implements Closeable {
  readonly #ports: ServerPorts;
  readonly #server: Server;

  constructor(ports: ServerPorts) {
    this.#ports = ports;
    this.#server = createServer(
      { requestTimeout: REQUEST_MS_MAX, headersTimeout: REQUEST_MS_MAX },
      (request, response) => {
        void this.#answer(request, response).catch((thrown: unknown) => fail(response, AntipodeError.from(thrown)));
      },
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** @returns the port. @throws ADDRESS_UNAVAILABLE */
  listen({ host, port }: { readonly host: string; readonly port: number }): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new AntipodeError('ADDRESS_UNAVAILABLE', `cannot listen on ${host}:${port}: ${cause.message}`, {
            details: { address: `${host}:${port}` },
            cause,
          }),
        ),
      );
      this.#server.listen(port, host, () => {
        const bound = this.#server.address();
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { gate: gateNow, assets, routes, stream, opened } = this.#ports;
    const gate = gateNow();
    const url = URL.parse(request.url ?? '/', 'http://local');
    const asked = { method: request.method ?? '', path: url?.pathname ?? '', headers: request.headers };
    gate.admit(asked);
    if (url === null) throw new AntipodeError('REQUEST_INVALID', 'the request names no path');
    const asset = asked.method === 'GET' || asked.method === 'HEAD' ? assets.of(asked.path) : undefined;
    if (asset !== undefined) return sendAsset(request, response, asset);
    if (asked.method === 'POST' && asked.path === '/api/session') {
      const { cookie, key } = gate.exchange(textIn(await bodyOf(request), 'token'));
      sendJson(response, 200, { key }, { 'set-cookie': cookie });
      return opened();
    }
    gate.require(asked);
    if (asked.method === 'GET' && asked.path === '/api/stream') return stream(response);
    const route = Object.hasOwn(routes, `${asked.method} ${asked.path}`)
      ? routes[`${asked.method} ${asked.path}`]
      : undefined;
    if (route === undefined) throw new AntipodeError('NOT_FOUND', `${asked.method} ${asked.path} is not served`);
    const body = asked.method === 'POST' ? await bodyOf(request) : undefined;
    sendJson(response, 200, await route({ query: url.searchParams, body }));
  }
}

/** A text in the body of a request. @throws REQUEST_INVALID */
export function textIn(body: unknown, name: string, fallback?: string): string {
  const value = (body as Readonly<Record<string, unknown>> | undefined)?.[name] ?? fallback;
  if (typeof value === 'string' && value.length <= 1_000) return value;
  throw new AntipodeError('REQUEST_INVALID', `expected a text ${name} of at most 1000 characters`, {
    details: { field: name },
  });
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX)
      throw new AntipodeError('REQUEST_INVALID', `a request has more than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch (cause) {
    throw new AntipodeError('REQUEST_INVALID', 'the body of the request is not JSON', { cause });
  }
}

function sendAsset(request: IncomingMessage, response: ServerResponse, asset: Asset): void {
  const accepted = String(request.headers['accept-encoding'] ?? '');
  const isKnown = request.headers['if-none-match'] === asset.etag;
  const [encoding, body] = /\bbr\b/.test(accepted)
    ? ['br', asset.brotli]
    : /\bgzip\b/.test(accepted)
      ? ['gzip', asset.gzip]
      : [undefined, asset.plain];
  response.writeHead(isKnown ? 304 : 200, {
    ...HEADERS,
    'content-type': asset.type,
    // Always asked for, and seldom sent: another release may be started at the same address.
    'cache-control': 'no-cache',
    etag: asset.etag,
    vary: 'accept-encoding',
    ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    ...(isKnown ? {} : { 'content-length': body.length }),
  });
  response.end(isKnown || request.method === 'HEAD' ? undefined : body);
}

function sendJson(response: ServerResponse, status: number, value: unknown, more: Record<string, string> = {}): void {
  response.writeHead(status, { ...HEADERS, 'content-type': 'application/json', 'cache-control': 'no-store', ...more });
  response.end(JSON.stringify(value));
}

const STATUS: Readonly<Record<string, number>> = {
  DASHBOARD_REFUSED: 403,
  DASHBOARD_READ_ONLY: 403,
  OPERATOR_ROLE_INSUFFICIENT: 403,
  NOT_FOUND: 404,
  REQUEST_INVALID: 400,
  USAGE: 400,
  SITE_UNREACHABLE: 502,
  TIMED_OUT: 504,
};

function fail(response: ServerResponse, error: AntipodeError): void {
  // Its reader has gone, or an answer has begun that cannot be taken back.
  if (response.headersSent) return void response.destroy();
  sendJson(response, STATUS[error.code] ?? 409, { error: toldOf(error) });
}
