/**
 * Orders that last longer than their connection, over real sockets: the agent's book of orders and the coordinator's
 * questions.
 */
import { rmSync } from 'node:fs';
import type { Agent } from '@antipode/coordinator/testing';
import { startingOrders } from '@antipode/coordinator/testing';
import { createClient, PromoteRequestSchema, RpcServer, SiteAgentService, Tls } from '@antipode/protocol';
import { someHandlers } from '@antipode/protocol/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { OrderBook } from '@antipode/site-agent/testing';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { openLink, type TestLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust } from '../../support/trust.ts';

const FENCE = { group: 'payments', epoch: 2n, owner: 'a', requestId: 'i.0' };
/** A call is cut within the time of a keep-alive after its connection has reached this age. */
const AGE_MS = 100;
const KEEPALIVE = { timeMs: 50, timeoutMs: 500 };

const folder = temporaryFolder('orders');
const opened: { close(): unknown }[] = [];
let [site, coordinator]: Tls[] = [];

beforeAll(async () => {
  const trust = await makeTrust(folder);
  site = new Tls(await trust.issue({ kind: 'site', name: 'a' }));
  coordinator = new Tls(await trust.issue({ kind: 'coordinator', name: 'one' }));
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An agent whose promotion lasts until a test ends it. */
async function serve(connectionAgeMsMax: number) {
  const promotions: { end: () => void; signal: AbortSignal }[] = [];
  const book = new OrderBook({ clock: systemClock, mark: () => undefined });
  const server = new RpcServer({ tls: site!, log: silentLog, connectionAgeMsMax });
  const handlers = someHandlers(SiteAgentService, {
    promote: (request, { signal }) =>
      book.run({ method: 'promote', schema: PromoteRequestSchema, request, signal }, async (ofOrder) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        promotions.push({ end: resolve, signal: ofOrder });
        await promise;
        return { proof: { proved: 7 } };
      }),
  });
  server.add(SiteAgentService, handlers);
  const link = await openLink(await server.listen('localhost:0'));
  opened.push(link, { close: () => server.close(0) }, { close: () => promotions.map(({ end }) => end()) });
  return { promotions, link };
}

function dial({ address }: TestLink): Agent {
  const client = createClient(SiteAgentService, {
    address,
    tls: coordinator!,
    expected: { kind: 'site', name: 'a' },
    keepalive: KEEPALIVE,
  });
  opened.push(client);
  const closed = new AbortController().signal;
  return startingOrders(client, { clock: systemClock, callMs: 5_000, patienceMs: 30_000, closed });
}

it('an order ends well although its connection has been renewed several times meanwhile', async () => {
  const { promotions, link } = await serve(AGE_MS);
  const promoted = dial(link).promote({ fence: FENCE }, { timeoutMs: 60_000 });
  await expect.poll(() => link.accepted, { timeout: 30_000 }).toBeGreaterThanOrEqual(4);
  promotions[0]!.end();
  const { proof, order } = await promoted;
  expect([proof?.proved, promotions.length, promotions[0]!.signal.aborted]).toEqual([7, 1, false]);
  expect(Number(order?.ageMs)).toBeGreaterThan(AGE_MS * 2);
});

it('an order whose link was cut is joined again, and its result is kept while nobody could hear it', async () => {
  const { promotions, link } = await serve(600_000);
  const promoted = dial(link).promote({ fence: FENCE }, { timeoutMs: 60_000 });
  await expect.poll(() => promotions.length, { timeout: 30_000 }).toBe(1);
  link.cut();
  promotions[0]!.end();
  link.heal();
  expect([(await promoted).proof?.proved, promotions.length]).toEqual([7, 1]);
});

it('the next leader joins the order of the one before', async () => {
  const { promotions, link } = await serve(600_000);
  const [before, next] = [dial(link), dial(link)];
  const first = before.promote({ fence: FENCE }, { timeoutMs: 60_000 }).catch(() => 'its coordinator has ended');
  await expect.poll(() => promotions.length, { timeout: 30_000 }).toBe(1);
  const second = next.promote({ fence: FENCE }, { timeoutMs: 60_000 });
  promotions[0]!.end();
  expect([(await second).proof?.proved, promotions.length]).toEqual([7, 1]);
  await first;
});
