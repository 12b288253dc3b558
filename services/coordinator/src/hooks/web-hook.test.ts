import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { KEY_EXCHANGE } from '@antipode/protocol';
import { Secret } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownCertificate } from '../testing/own-certificate.ts';
import type { MoveQuestion } from './hook.ts';
import { webHook } from './web-hook.ts';

const QUESTION: MoveQuestion = {
  type: 'may-move',
  group: 'payments',
  epoch: 7n,
  fromSite: 'a',
  toSite: 'b',
  cause: 'automatic',
  lostGenerations: 0,
};
const KEY = 'a secret of twenty-four b';

let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
const got: { headers: IncomingMessage['headers']; body: string }[] = [];
beforeAll(async () => {
  server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    got.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/moves`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => void got.splice(0));

const clock = new FakeClock();
const hook = (at = url) =>
  webHook({ name: 'desk', url: at, secret: new Secret(Buffer.from(KEY)), timeoutMs: 10_000 }, { clock });

describe('a hook that is a web address', () => {
  it('gets the message as JSON, signed by the scheme of Standard Webhooks', async () => {
    answer = (_request, response) => response.end('fine');
    expect(await hook().call(QUESTION)).toEqual({ isAccepted: true, reason: 'fine' });
    const { headers, body } = got[0]!;
    expect(JSON.parse(body)).toEqual({ id: 'may-move/payments/7/b', ...QUESTION, epoch: '7' });
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`);
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': 'may-move/payments/7/b',
      'webhook-timestamp': String(Math.floor(clock.wallMs() / 1_000)),
    });
  });

  it.each([403, 409])('refuses with status %i and a reason', async (status) => {
    answer = (_request, response) => response.writeHead(status).end('change\u0007 freeze\nmore');
    expect(await hook().call(QUESTION)).toEqual({ isAccepted: false, reason: String.raw`change\u0007 freeze` });
  });

  it.each([
    ['a server that fails', 500, {}, 'status 500, sorry'],
    ['a login page', 401, {}, 'status 401, sorry'],
    ['an address that has moved', 302, { location: 'http://127.0.0.1:1/' }, 'status 302, sorry'],
  ])('has not answered by %s', async (_what, status, headers, message) => {
    answer = (_request, response) => response.writeHead(status, headers).end('sorry');
    const error = await rejection(hook().call(QUESTION));
    expect([error.code, error.message, got.length]).toEqual([
      'HOOK_FAILED',
      `[HOOK_FAILED] hook desk gave no answer: ${url} answered with ${message}`,
      1,
    ]);
  });

  it('has not answered where nobody listens', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const at = `http://127.0.0.1:${(closed.address() as AddressInfo).port}/`;
    await new Promise((resolve) => closed.close(resolve));
    const error = await rejection(hook(at).call(QUESTION));
    expect(error.message).toBe(`[HOOK_FAILED] hook desk gave no answer: ${at} cannot be reached (ECONNREFUSED)`);
  });

  it('reaches a server that knows neither TLS 1.3 nor our key agreement', async () => {
    const { cert, key, tls: ours } = await ownCertificate();
    const [version, curve] = [tls.DEFAULT_MIN_VERSION, tls.DEFAULT_ECDH_CURVE];
    const older = createSecureServer(
      { cert, key, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ecdhCurve: 'prime256v1' },
      (_, response) => response.end('fine'),
    );
    await new Promise<void>((resolve) => older.listen(0, '127.0.0.1', resolve));
    try {
      // As the coordinator pins it for the connections between sites.
      [tls.DEFAULT_MIN_VERSION, tls.DEFAULT_ECDH_CURVE] = ['TLSv1.3', KEY_EXCHANGE];
      const at = `https://127.0.0.1:${(older.address() as AddressInfo).port}/moves`;
      const secret = new Secret(Buffer.from(KEY));
      const desk = webHook({ name: 'desk', url: at, secret, timeoutMs: 10_000 }, { clock, tls: ours });
      expect(await desk.call(QUESTION)).toEqual({ isAccepted: true, reason: 'fine' });
    } finally {
      [tls.DEFAULT_MIN_VERSION, tls.DEFAULT_ECDH_CURVE] = [version, curve];
      older.closeAllConnections();
      older.close();
    }
  });

  it('is not waited for without end', async () => {
    const asked = new Promise<void>((resolve) => {
      answer = () => resolve();
    });
    const silent = rejection(hook().call(QUESTION));
    await asked;
    await clock.advance(10_000);
    expect((await silent).message).toContain('did not answer within 10000 ms');
  });

  it('accepts by its status, even if its answer never ends', async () => {
    const begun = new Promise<void>((resolve) => {
      answer = (_request, response) => void response.writeHead(200).write('fine\n', () => resolve());
    });
    let isOver = false;
    const called = hook()
      .call(QUESTION)
      .finally(() => {
        isOver = true;
      });
    await begun;
    // The limit of the whole call is ten times as long.
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve));
      await clock.advance(1);
    }
    expect(await called).toMatchObject({ isAccepted: true });
  });

  it('is not listened to without end', async () => {
    answer = (_request, response) => {
      const say = (): void => {
        while (!response.destroyed && response.write('no\n'.repeat(1_000)));
        response.once('drain', say);
      };
      response.writeHead(403);
      say();
    };
    expect(await hook().call(QUESTION)).toEqual({ isAccepted: false, reason: 'no' });
  });
});
