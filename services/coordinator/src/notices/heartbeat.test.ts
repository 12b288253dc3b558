import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { silentLog, systemClock, temporaryBase } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeLeadership } from '../testing/leader.ts';
import { Heartbeats } from './heartbeat.ts';
import { openReceivers } from './open-receivers.ts';

let server: Server;
let origin: string;
let folder: string;
let status = 200;
const got: { method: string; path: string; body: string }[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(temporaryBase(), 'antipode-heartbeat-'));
  server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    got.push({ method: request.method!, path: request.url!, body: Buffer.concat(parts).toString() });
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  got.splice(0);
  status = 200;
});

function addressFile(text: string, mode = 0o600): string {
  const path = join(folder, 'address');
  rmSync(path, { force: true });
  writeFileSync(path, text, { mode });
  return path;
}
const open = (one: { method?: 'GET' | 'POST'; urlFile: string }) =>
  openReceivers(
    {
      receivers: [],
      heartbeats: [{ name: 'watch', everySeconds: 60, timeoutSeconds: 10, method: 'GET', ...one }],
      waitFactor: 1,
    },
    { id: 'main', clock: systemClock },
  ).heartbeats;

describe('a heartbeat', () => {
  let obstacle: string | undefined;
  const election = new FakeLeadership();
  const clock = new FakeClock();
  const beats = (method: 'GET' | 'POST' = 'GET') =>
    new Heartbeats(open({ method, urlFile: addressFile(`${origin}/secret-path\n`) }), {
      election,
      clock,
      log: silentLog,
      obstacle: () => obstacle,
    });
  beforeEach(() => {
    obstacle = undefined;
    election.epoch = 1n;
  });

  it.each([
    ['GET', ''],
    ['POST', '{"type":"heartbeat","coordinator":"main"}'],
  ] as const)('is a %s of the address in the file', async (method, body) => {
    const heartbeats = beats(method);
    await heartbeats.pass('watch');
    expect(got).toEqual([{ method, path: '/secret-path', body }]);
    expect(heartbeats.states).toEqual([{ name: 'watch', acceptedMs: clock.monotonicMs(), trouble: '' }]);
  });

  it('does not go out from a coordinator that does not lead, nor while something is wrong there', async () => {
    const heartbeats = beats();
    election.epoch = undefined;
    await heartbeats.pass('watch');
    election.epoch = 1n;
    obstacle = 'groups cannot be planned: DATABASE_UNAVAILABLE';
    await heartbeats.pass('watch');
    expect(got).toEqual([]);
    expect(heartbeats.states).toEqual([{ name: 'watch', acceptedMs: undefined, trouble: obstacle }]);
    obstacle = undefined;
    await heartbeats.pass('watch');
    expect(got).toHaveLength(1);
  });

  it('that is not accepted shows, without the address, which is often a secret', async () => {
    status = 404;
    const heartbeats = beats();
    await heartbeats.pass('watch');
    expect(heartbeats.states[0]!.trouble).toBe(`receiver watch gave no answer: ${origin} answered with status 404`);
  });
});

describe('the file with its address', () => {
  it.each([
    ['has a mode for others', 'https://watch.example/x', 0o644],
    ['holds no address', 'watch.example', 0o600],
    ['holds an address in the clear', 'http://watch.example/x', 0o600],
    ['is empty', '', 0o600],
  ])('that %s is refused, and not repeated', (_what, text, mode) => {
    const error = thrown(() => open({ urlFile: addressFile(text, mode) }));
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    if (text !== '') expect(error.message).not.toContain(text);
  });
});
