import { expect, it } from 'vitest';
import { AntipodeError } from '../errors.ts';
import { Metrics } from '../metrics/metrics.ts';
import { rejection } from '../testing/index.ts';
import { type Health, HealthServer } from './health.ts';

it('answers 200, 503 and 404 by what its probes say', async () => {
  let ready: Health = { ok: false, checks: { coordinator: false } };
  const server = new HealthServer({ live: () => ({ ok: true, checks: { site: 'a' } }), ready: async () => ready });
  const port = await server.listen('127.0.0.1:0');
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: (await response.json()) as Health };
  };
  try {
    expect(await ask('/livez')).toEqual({ status: 200, body: { ok: true, checks: { site: 'a' } } });
    expect(await ask('/readyz')).toEqual({ status: 503, body: ready });
    ready = { ok: true, checks: { coordinator: true } };
    expect((await ask('/readyz')).status).toBe(200);
    expect(await ask('/metrics')).toMatchObject({ status: 404, body: { ok: false } });
    expect(await ask('/')).toMatchObject({ status: 404, body: { ok: false } });
  } finally {
    await server.close();
  }
  await server.close();
});

it('serves the metrics of its process in the form that is asked for', async () => {
  const metrics = new Metrics({ role: 'witness', name: 'w' });
  metrics.part('agent', (set) => set('antipode_agent_term', { site: 'w' }, 7n));
  const healthy = () => ({ ok: true, checks: {} });
  const server = new HealthServer({ live: healthy, ready: healthy, metrics });
  const port = await server.listen('127.0.0.1:0');
  const ask = async (accept: string) => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { accept } });
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  };
  try {
    expect(await ask('*/*')).toEqual({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      text: expect.stringContaining('antipode_agent_term{site="w"} 7\n'),
    });
    expect(await ask('application/openmetrics-text; version=1.0.0')).toEqual({
      status: 200,
      type: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
      text: expect.stringMatching(/# EOF\n$/),
    });
  } finally {
    await server.close();
  }
});

it('listens on an IPv6 address, and says what it expects where there is none', async () => {
  const server = new HealthServer({
    live: () => ({ ok: true, checks: {} }),
    ready: () => ({ ok: true, checks: {} }),
  });
  try {
    const port = await server.listen('[::1]:0');
    expect((await fetch(`http://[::1]:${port}/livez`)).status).toBe(200);
    expect((await rejection(server.listen('::1:0'))).message).toContain('expected host:port');
  } finally {
    await server.close();
  }
});

it('names an address that it cannot listen on', async () => {
  const probes = { live: () => ({ ok: true, checks: {} }), ready: () => ({ ok: true, checks: {} }) };
  const [first, second] = [new HealthServer(probes), new HealthServer(probes)];
  try {
    const address = `127.0.0.1:${await first.listen('127.0.0.1:0')}`;
    expect(await rejection(second.listen(address))).toMatchObject({
      code: 'ADDRESS_UNAVAILABLE',
      details: { address },
    });
  } finally {
    await Promise.all([first.close(), second.close()]);
  }
});

it('answers 503 with the code where a probe fails', async () => {
  const server = new HealthServer({
    live: () => ({ ok: true, checks: {} }),
    ready: () => Promise.reject(new AntipodeError('DATABASE_UNAVAILABLE', 'away')),
  });
  const port = await server.listen('localhost:0');
  try {
    const answer = await fetch(`http://localhost:${port}/readyz`);
    expect([answer.status, await answer.json()]).toEqual([
      503,
      { ok: false, checks: { error: 'DATABASE_UNAVAILABLE' } },
    ]);
  } finally {
    await server.close();
  }
});
