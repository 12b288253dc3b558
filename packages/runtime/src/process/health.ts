/**
 * Health of the process for supervisors and load balancers: /livez (it runs), /readyz (it can act), in JSON. /metrics has
 * its numbers for Prometheus. No secrets, and no names of keys: whoever reaches the port reads it all.
 */
import type { Server } from 'node:http';
import { ADDRESS_EXPECTED, parseAddress } from '../address.ts';
import { AntipodeError } from '../errors.ts';
import { CONTENT_TYPES, exposed, expositionFor } from '../metrics/exposition.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Closeable } from './lifecycle.ts';

export interface Health {
  readonly ok: boolean;
  readonly checks: Readonly<Record<string, boolean | string | number>>;
}

export class HealthServer implements Closeable {
  readonly #server: Server;

  constructor({
    live,
    ready,
    metrics,
  }: {
    live: () => Health;
    ready: () => Health | Promise<Health>;
    /** Absent while the process waits to begin. */
    metrics?: Metrics | undefined;
  }) {
    // An import of `node:http` loads a client of HTTP and WebSocket as well, in every process that imports this package.
    const { createServer } = process.getBuiltinModule('node:http');
    this.#server = createServer((request, response) => {
      if (request.url === '/metrics' && metrics !== undefined) {
        const form = expositionFor(request.headers.accept);
        void metrics.collect().then((families) => {
          response.writeHead(200, { 'content-type': CONTENT_TYPES[form] });
          response.end(exposed(families, form));
        });
        return;
      }
      const probe = request.url === '/livez' ? live : request.url === '/readyz' ? ready : undefined;
      void answerOf(probe).then(({ status, health }) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(`${JSON.stringify(health)}\n`);
      });
    });
  }

  listen(address: string): Promise<number> {
    const parsed = parseAddress(address);
    if (parsed === undefined)
      return Promise.reject(
        new AntipodeError('CONFIG_INVALID', `cannot listen on ${address}: ${ADDRESS_EXPECTED}`, {
          details: { address },
        }),
      );
    const { host, port } = parsed;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new AntipodeError('ADDRESS_UNAVAILABLE', `cannot listen on ${address}: ${cause.message}`, {
            details: { address },
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
}

/** A probe that fails is an answer too: not healthy, and by which code. */
async function answerOf(
  probe: (() => Health | Promise<Health>) | undefined,
): Promise<{ status: number; health: Health }> {
  if (probe === undefined)
    return { status: 404, health: { ok: false, checks: { path: 'expected /livez, /readyz or /metrics' } } };
  try {
    const health = await probe();
    return { status: health.ok ? 200 : 503, health };
  } catch (thrown) {
    return { status: 503, health: { ok: false, checks: { error: AntipodeError.from(thrown).code } } };
  }
}
