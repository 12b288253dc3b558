import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { type Asked, Gate } from './gate.ts';

const HOST = '127.0.0.1:4711';
const asked = (headers: Asked['headers'] = {}, method = 'GET'): Asked => ({
  method,
  path: '/api/stream',
  headers: { host: HOST, ...headers },
});
const posted = (headers: Asked['headers'] = {}): Asked =>
  asked({ origin: `http://${HOST}`, 'content-type': 'application/json', ...headers }, 'POST');
const codeOf = (work: () => unknown): string => thrown(work).code;

describe('on loopback', () => {
  const gate = (): Gate => new Gate({ kind: 'loopback', port: 4711 });
  const tokenOf = (one: Gate): string => new URL(one.address).hash.slice(1);

  it.each(['127.0.0.1:4711', 'localhost:4711', '[::1]:4711'])('serves a request that names %s', (host) => {
    gate().admit(asked({ host }));
    gate().admit(posted({ host, origin: `http://${host}` }));
  });

  it.each(['evil.example.org:4711', '127.0.0.1:4712', '127.0.0.1', ''])(
    'refuses a name that leads here by rebinding: "%s"',
    (host) => {
      expect(codeOf(() => gate().admit(asked({ host })))).toBe('DASHBOARD_REFUSED');
    },
  );

  it.each([
    { origin: 'https://evil.example.org' },
    { origin: 'http://localhost:4711' },
    { origin: 'null' },
    { origin: undefined },
    { 'content-type': 'text/plain' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ])('refuses an order from elsewhere: %o', (headers) => {
    expect(codeOf(() => gate().admit(posted(headers)))).toBe('DASHBOARD_REFUSED');
  });

  it('lets a link of another page lead here, and does not let that page read', () => {
    gate().admit(asked({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }));
    const read = asked({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' });
    expect(codeOf(() => gate().admit(read))).toBe('DASHBOARD_REFUSED');
  });

  it('takes a token once, and then has another one', () => {
    const one = gate();
    const token = tokenOf(one);
    one.exchange(token);
    expect(tokenOf(one)).not.toBe(token);
    expect(codeOf(() => one.exchange(token))).toBe('DASHBOARD_REFUSED');
    one.exchange(tokenOf(one));
  });

  it('gives a cookie that no script and no other site gets', () => {
    const one = gate();
    const { cookie } = one.exchange(tokenOf(one));
    expect(cookie).toMatch(/^antipode-4711=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/$/);
  });

  it('asks for the cookie of a session, and for its key where something is ordered', () => {
    const one = gate();
    const [first, second] = [one.exchange(tokenOf(one)), one.exchange(tokenOf(one))];
    const cookie = `other=1; ${first.cookie.split(';')[0]}`;
    one.require(asked({ cookie }));
    one.require(posted({ cookie, 'antipode-key': first.key }));
    for (const wrong of [
      asked({}),
      asked({ cookie: `antipode-4711=${'A'.repeat(43)}` }),
      asked({ cookie: cookie.replace('antipode-4711', 'antipode-4712') }),
      posted({ cookie }),
      posted({ cookie, 'antipode-key': second.key }),
    ])
      expect(codeOf(() => one.require(wrong))).toBe('DASHBOARD_REFUSED');
  });

  it('keeps the sessions of the last browsers only', () => {
    const one = gate();
    const [first] = Array.from({ length: 17 }, () => one.exchange(tokenOf(one)));
    const cookie = first!.cookie.split(';')[0]!;
    expect(codeOf(() => one.require(asked({ cookie })))).toBe('DASHBOARD_REFUSED');
  });
});

describe('behind a proxy', () => {
  const secret = 's'.repeat(32);
  const gate = new Gate({ kind: 'proxy', origin: 'https://antipode.example.org', secret });
  const through = { 'antipode-proxy': secret, host: 'antipode.example.org' };

  it('serves what the proxy sends, without a session', () => {
    gate.admit(asked(through));
    gate.require(asked(through));
    gate.admit(posted({ ...through, origin: 'https://antipode.example.org' }));
  });

  it('refuses who has gone round the proxy', () => {
    for (const headers of [
      { ...through, 'antipode-proxy': undefined },
      { ...through, 'antipode-proxy': 's' },
    ])
      expect(codeOf(() => gate.admit(asked(headers)))).toBe('DASHBOARD_REFUSED');
    expect(codeOf(() => gate.admit(asked({ ...through, host: HOST })))).toBe('DASHBOARD_REFUSED');
  });

  it('refuses an order from a page of another origin', () => {
    const order = posted({ ...through, origin: 'https://evil.example.org' });
    expect(codeOf(() => gate.admit(order))).toBe('DASHBOARD_REFUSED');
  });

  it('has no token to give or to take', () => {
    expect(gate.address).toBe('https://antipode.example.org/');
    expect(codeOf(() => gate.exchange(''))).toBe('DASHBOARD_REFUSED');
  });
});
