import { request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Assets } from './assets.ts';
import { Gate } from './gate.ts';
import { DashboardServer } from './server.ts';

let port: number;
const server = new DashboardServer({
  gate: () => new Gate({ kind: 'loopback', port }),
  assets: new Assets(),
  routes: {},
  stream: () => {},
  opened: () => {},
});
beforeAll(async () => {
  port = await server.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => server.close());

function get(path: string, host = `127.0.0.1:${port}`): Promise<[status: number | undefined, code: string]> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, headers: { host } }, async (answer) => {
      const parts: Buffer[] = [];
      for await (const part of answer) parts.push(part as Buffer);
      const { error } = JSON.parse(Buffer.concat(parts).toString()) as { error: { code: string } };
      resolve([answer.statusCode, error.code]);
    });
    sent.on('error', reject).end();
  });
}

it.each(['//', 'http://['])('refuses a request for %s as invalid, and not as a defect', async (path) => {
  expect(await get(path)).toEqual([400, 'REQUEST_INVALID']);
  expect(await get(path, 'elsewhere.example')).toEqual([403, 'DASHBOARD_REFUSED']);
});
