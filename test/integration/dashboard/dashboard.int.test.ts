/** The dashboard as an operator has it: the real command, a real system, and a real browser. */
import { systemClock } from '@antipode/runtime';
import type { Browser, BrowserContext } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startBrowser, WatchedPage } from '../../support/browser.ts';
import { operatorConfigOf } from '../../support/command.ts';
import { RunningDashboard } from '../../support/dashboard.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

/** The promise of the page, from the death of a site to the word about it. */
const TOLD_MS_MAX = 3_000;
/** Another page on the same machine. */
const ELSEWHERE = 'http://127.0.0.1:9';

let browser: Browser;
let context: BrowserContext;
let system: TestSystem;
let dashboard: RunningDashboard;
let opened: WatchedPage;

beforeAll(async () => {
  browser = await startBrowser();
  system = await TestSystem.start({ processes: ['b', 'coordinator'] });
  await system.makeKey('a', '01');
  await system.replicate();
  dashboard = await RunningDashboard.start(['--config', operatorConfigOf(system.folder).file]);
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  opened = await WatchedPage.open(context);
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await dashboard?.close();
  await system?.close();
});

describe('the page of an operator', () => {
  it('opens by the printed address, and the token leaves the address', async () => {
    await opened.page.goto(await dashboard.address(0));
    await opened.page.locator(`tr[data-group=${GROUP}]`).waitFor();
    expect(new URL(opened.page.url()).hash).toBe('#/');
    expect(await opened.page.title()).toContain('Antipode');
  });

  it('tells within three seconds that a site was killed', async () => {
    const { page } = opened;
    const tile = page.locator('li.site[data-site=b]');
    await tile.and(page.locator('[data-severity=well]')).waitFor();
    const killedMs = systemClock.monotonicMs();
    await system.site('b').process!.killAll();
    await tile.and(page.locator(':not([data-severity=well])')).waitFor();
    const toldMs = systemClock.monotonicMs() - killedMs;
    expect(await tile.textContent()).toMatch(/suspect|down/);
    expect(toldMs).toBeLessThan(TOLD_MS_MAX);
    await system.startAgent('b', { asProcess: true });
    await tile.and(page.locator('[data-severity=well]')).waitFor();
  });

  it('asks nobody else for anything, and breaks no rule of its policy', () => {
    expect([...new Set(opened.requests.map((url) => new URL(url).origin))]).toEqual([dashboard.origin]);
    expect(opened.faults).toEqual([]);
  });
});

describe('the local server', () => {
  const from = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(new URL(path, dashboard.origin), { redirect: 'manual', ...init });
  const posted = (path: string, headers: Record<string, string>, body: unknown = {}) =>
    from(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  const codeOf = async (answer: Promise<Response>): Promise<unknown> => {
    const response = await answer;
    return [response.status, ((await response.json()) as { error?: { code: string } }).error?.code];
  };
  const REFUSED = [403, 'DASHBOARD_REFUSED'];

  it('refuses a token that is wrong, and the right one when it is used again', async () => {
    const used = new URL(await dashboard.address(0)).hash.slice(1);
    for (const token of [used, 'A'.repeat(43), ''])
      expect(await codeOf(posted('/api/session', { origin: dashboard.origin }, { token }))).toEqual(REFUSED);
  });

  it('refuses what is not of a session', async () => {
    expect(await codeOf(from('/api/stream'))).toEqual(REFUSED);
    const cookie = (await context.cookies()).map(({ name }) => `${name}=${'B'.repeat(43)}`).join('; ');
    expect(await codeOf(from('/api/stream', { headers: { cookie } }))).toEqual(REFUSED);
  });

  it('refuses a request of another origin, although it has the cookie and the key', async () => {
    const [cookie] = await context.cookies();
    const key = String(await opened.page.evaluate("localStorage.getItem('antipode-key')"));
    const session = { cookie: `${cookie!.name}=${cookie!.value}`, 'antipode-key': key };
    const path = '/api/nothing';
    expect(await codeOf(posted(path, { ...session, origin: dashboard.origin }))).toEqual([404, 'NOT_FOUND']);
    for (const origin of [ELSEWHERE, 'null', dashboard.origin.replace('127.0.0.1', 'localhost')])
      expect(await codeOf(posted(path, { ...session, origin }))).toEqual(REFUSED);
    expect(await codeOf(posted(path, session))).toEqual(REFUSED);
    expect(await codeOf(posted(path, { cookie: session.cookie, origin: dashboard.origin }))).toEqual(REFUSED);
  });
});
