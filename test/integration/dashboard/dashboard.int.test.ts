/**
 * The dashboard as an operator has it: the real command, a real system, and a real browser. With ANTIPODE_SCREENSHOTS=1
 * it also writes the pictures of the README (docs/images).
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spokenDigest } from '@antipode/operator';
import { approvalDigest, FailoverPolicy, verifyApproval } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { makeOperatorFolder } from '@antipode/setup';
import type { Browser, BrowserContext } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startBrowser, WatchedPage } from '../../support/browser.ts';
import { operatorConfigOf } from '../../support/command.ts';
import { RunningDashboard } from '../../support/dashboard.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

/** The promise of the page, from the death of a site to the word about it. */
const TOLD_MS_MAX = 3_000;
const TRIES = 3;
/** Another page on the same machine. */
const ELSEWHERE = 'http://127.0.0.1:9';

const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
const IMAGES = fileURLToPath(new URL('../../../docs/images/', import.meta.url));

/** What axe-core finds, in one line each. */
async function violationsOf({ page }: WatchedPage): Promise<string[]> {
  await page.evaluate(AXE);
  const found = (await page.evaluate('axe.run(document)')) as {
    violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
  };
  return found.violations.flatMap(({ id, nodes }) => nodes.map((one) => `${id}: ${one.html} ${one.failureSummary}`));
}

/** Every view of the page. */
const VIEWS = ['#/', `#/group/${GROUP}`, '#/operations', '#/drills', '#/approvals', '#/nowhere'];

async function show({ page }: WatchedPage, hash: string): Promise<void> {
  await page.evaluate(`location.hash = '${hash}'`);
  await page.locator('main :is(h1, table)').first().waitFor();
  await page.getByText('Asking.').first().waitFor({ state: 'detached' });
}

async function picture({ page }: WatchedPage, name: string): Promise<void> {
  if (process.env['ANTIPODE_SCREENSHOTS'] !== '1') return;
  mkdirSync(IMAGES, { recursive: true });
  await page.screenshot({ path: join(IMAGES, `${name}.png`), animations: 'disabled' });
}

let browser: Browser;
let context: BrowserContext;
let system: TestSystem;
let dashboard: RunningDashboard;
let opened: WatchedPage;

beforeAll(async () => {
  browser = await startBrowser();
  system = await TestSystem.start({ processes: ['b', 'coordinator'], failoverPolicy: FailoverPolicy.MANUAL });
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

describe('the page of an operator', { timeout: 120_000 }, () => {
  it('opens by the printed address, and the token leaves the address', async () => {
    await opened.page.goto(await dashboard.address(0));
    await opened.page.locator(`tr[data-group=${GROUP}]`).waitFor();
    expect(new URL(opened.page.url()).hash).toBe('#/');
    expect(await opened.page.title()).toContain('Antipode');
  });

  it('tells within three seconds that a site was killed', async () => {
    const { page } = opened;
    const tile = page.locator('li.site[data-site=b]');
    const isWell = tile.and(page.locator('[data-severity=well]'));
    const told: number[] = [];
    // Other tests on the machine delay the agents, the coordinator and the browser. The promise is of an idle one.
    while (told.length < TRIES && told.every((ms) => ms >= TOLD_MS_MAX)) {
      await isWell.waitFor();
      const killedMs = systemClock.monotonicMs();
      await system.site('b').process!.killAll();
      await tile.and(page.locator(':not([data-severity=well])')).waitFor();
      told.push(systemClock.monotonicMs() - killedMs);
      expect(await tile.textContent()).toMatch(/suspect|down/);
      await system.startAgent('b', { asProcess: true });
    }
    expect(Math.min(...told)).toBeLessThan(TOLD_MS_MAX);
    await isWell.waitFor();
    await system.insistent('site b can take over', async () => {
      const { obstacle } = await system.operator.planFailover({ group: GROUP, toSite: 'b', planned: true });
      if (obstacle !== '') throw new Error(obstacle);
    });
  });

  it('runs a drill from the page, and shows its signed evidence, without a label', async () => {
    const { page } = opened;
    await show(opened, `#/group/${GROUP}`);
    await page.locator('circle.captured').first().waitFor();
    await page.getByRole('button', { name: 'Drill' }).click();
    await page.getByRole('button', { name: 'Order it' }).click();
    await page.locator('#order [data-status=done]').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    const evidence = page.locator('tr[data-drill] a[download]').first();
    await evidence.waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), evidence.click()]);
    const text = readFileSync(await download.path(), 'utf8');
    expect(JSON.parse((JSON.parse(text) as { evidence: string }).evidence)).toMatchObject({ group: GROUP });
    expect(`${text}${await page.content()}`).not.toContain('key 01');
  });

  it('switches over by the keyboard alone, and only with the name of the group', async () => {
    const { page } = opened;
    const press = async (...keys: string[]): Promise<void> => {
      for (const key of keys) await page.keyboard.press(key);
    };
    /** By Tab, as somebody without a mouse gets there. */
    const tabTo = async (name: string): Promise<void> => {
      for (let at = 0; at < 40; at += 1) {
        await press('Tab');
        const focused = await page.evaluate('document.activeElement.textContent + document.activeElement.id');
        if (String(focused).startsWith(name)) return;
      }
      throw new Error(`no Tab leads to ${name}`);
    };
    await show(opened, '#/');
    await press('/');
    await page.keyboard.type('payments');
    await tabTo(GROUP);
    await press('Enter');
    await page.getByRole('button', { name: 'Switch over' }).waitFor();
    await tabTo('the best standbybc');
    await page.keyboard.type('b');
    await tabTo('Switch over');
    await press('Enter');
    await page.getByText('Site b first catches up with a and proves every key').waitFor();
    await page.keyboard.type('payment');
    await press('Enter');
    const order = page.getByRole('button', { name: 'Order it' });
    expect(await order.isDisabled()).toBe(true);
    expect(await violationsOf(opened)).toEqual([]);
    await page.keyboard.type('s');
    await press('Enter');
    await page.locator('#order [data-status=done]').waitFor();
    await press('Escape');
    await page.locator('#order[open]').waitFor({ state: 'detached' });
    await page.getByText('Site b is active in epoch 2.').waitFor();
    await page.getByText('An operator moved the group there from site a').waitFor();
    expect((await system.operator.resolve({ group: GROUP })).site).toBe('b');
  });

  it('pauses and resumes the automation', async () => {
    const { page } = opened;
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await page.getByLabel('Reason').fill('new firmware');
    await page.getByRole('button', { name: 'Order it' }).click();
    await page.getByText('Done.').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByText(/by test: new firmware/).waitFor();
    expect((await system.operator.getGroup({ group: GROUP })).group?.automationPause?.reason).toBe('new firmware');
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await page.getByRole('button', { name: 'Order it' }).click();
    await page.getByText('Done.').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'Pause', exact: true }).waitFor();
  });

  it.each(['light', 'dark'] as const)(
    'has nothing that axe-core finds, in %s, wide and narrow',
    async (colorScheme) => {
      const { page } = opened;
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      for (const width of [1280, 360]) {
        await page.setViewportSize({ width, height: 800 });
        for (const view of VIEWS) {
          await show(opened, view);
          expect([view, await violationsOf(opened)]).toEqual([view, []]);
          expect([view, width, await opened.overflow()]).toEqual([view, width, 0]);
        }
      }
      await page.setViewportSize({ width: 1280, height: 800 });
      const paper = await page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
      expect(paper).toBe(colorScheme === 'light' ? 'rgb(246, 245, 240)' : 'rgb(19, 22, 24)');
      await page.setViewportSize({ width: 1080, height: 620 });
      await show(opened, colorScheme === 'light' ? '#/' : `#/group/${GROUP}`);
      await picture(opened, `dashboard-${colorScheme}`);
      await page.setViewportSize({ width: 1280, height: 800 });
    },
  );

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

describe('a dashboard with the key of an approver', { timeout: 120_000 }, () => {
  const operators = new SomeOperators();

  it('signs what it shows, if the name of the group is typed, and nothing else', async () => {
    const key = join(system.folder, 'bob.pem');
    writeFileSync(key, operators.privateKey('bob').export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
    const made = operators.sign(someRequest({ group: GROUP, required: 1 }, systemClock.wallMs()), ['alice']);
    // Somebody else has been there under the name of bob.
    const forged = { operator: 'bob', signature: new Uint8Array(64) };
    const approval = { request: made.request, signatures: [...made.signatures, forged] };
    await system.operator.submitApproval({ approval });
    const onRecord = async () => (await system.operator.listApprovals({ group: '' })).approvals[0]!.approval!;
    const approvedBy = async (): Promise<readonly string[]> => {
      const { request, signatures } = await onRecord();
      const signed = { request: new Uint8Array(request), signatures };
      return verifyApproval(signed, { ...operators.policy, required: 1 }, systemClock.wallMs()).approvedBy;
    };
    const signs = await RunningDashboard.start([
      ...['--config', operatorConfigOf(system.folder).file],
      ...['--approve-as', 'bob', '--approve-key', key],
    ]);
    const own = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    try {
      const watched = await WatchedPage.open(own);
      const { page } = watched;
      await page.goto(await signs.address(0));
      await page.locator(`tr[data-group=${GROUP}]`).waitFor();
      await show(watched, '#/approvals');
      const shown = page.locator('article.approval');
      const digest = approvalDigest(made.request);
      expect(await shown.getAttribute('data-digest')).toBe(digest);
      await page.getByRole('button', { name: /^Sign as bob/ }).click();
      // All that is signed stands above the question.
      const words = [`active member of group ${GROUP}`, 'These sites may be silent: a.', 'prepared for the night'];
      for (const line of [...words, spokenDigest(digest)]) await page.locator('#order').getByText(line).waitFor();
      const order = page.getByRole('button', { name: 'Sign', exact: true });
      expect(await order.isDisabled()).toBe(true);
      expect(await rejection(approvedBy())).toMatchObject({ code: expect.stringMatching(/^APPROVAL_/) });
      expect(await violationsOf(watched)).toEqual([]);
      await page.locator('#order input').first().fill(GROUP);
      await order.click();
      await page.getByText('Done.').waitFor();
      expect(await approvedBy()).toEqual(['bob']);
      await page.getByRole('button', { name: 'Close' }).click();
      await shown.getByText(/1 of 1 have signed: bob/).waitFor();
      expect(watched.faults).toEqual([]);
      // The page of an operator without a key shows the same, and no way to sign.
      await show(opened, '#/approvals');
      await opened.page.locator('article.approval').getByText('have signed: bob').waitFor();
      expect(await opened.page.getByRole('button', { name: /^Sign as/ }).count()).toBe(0);
    } finally {
      await own.close();
      await signs.close();
    }
  });
});

describe('a dashboard that only shows', { timeout: 120_000 }, () => {
  let viewer: string;

  beforeAll(async () => {
    const folder = join(system.folder, 'viewer');
    const [, address] =
      /address: (localhost:\d+)/.exec(readFileSync(operatorConfigOf(system.folder).file, 'utf8')) ?? [];
    await makeOperatorFolder({
      folder,
      authority: join(system.folder, 'authority'),
      name: 'display',
      role: 'viewer',
      coordinators: [{ id: 'main', address: address! }],
    });
    viewer = join(folder, 'operator.yaml');
  });

  const CASES = [
    ['by --read-only', () => ['--config', operatorConfigOf(system.folder).file, '--read-only']],
    ['by the certificate of a viewer', () => ['--config', viewer]],
  ] as const;

  it.each(CASES)('%s: plans a failover, offers no order, and refuses one at the server', async (_how, args) => {
    const shown = await RunningDashboard.start(args());
    const own = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    try {
      const watched = await WatchedPage.open(own);
      const { page } = watched;
      await page.goto(await shown.address(0));
      await page.locator(`tr[data-group=${GROUP}]`).waitFor();
      await page.getByText('Read-only:').waitFor();
      await show(watched, `#/group/${GROUP}`);
      const [asked] = await Promise.all([
        page.waitForResponse((response) => response.url().endsWith('/api/plan')),
        page.getByRole('button', { name: 'Plan a failover' }).click(),
      ]);
      await page.getByText('Nothing can be ordered here').waitFor();
      expect(await page.getByRole('button', { name: /Order|Drill|Pause/ }).count()).toBe(0);
      const { id } = (await asked.json()) as { id: string };
      const answer = await page.evaluate(
        `fetch('/api/order', { method: 'POST', headers: { 'content-type': 'application/json', 'antipode-key': localStorage.getItem('antipode-key') }, body: JSON.stringify({ plan: '${id}', typed: '${GROUP}', acceptLoss: true }) }).then((response) => response.json())`,
      );
      expect(answer).toMatchObject({ error: { code: 'DASHBOARD_READ_ONLY' } });
      const { operations } = await system.operator.listOperations({ group: GROUP, limit: 50 });
      expect(operations.filter(({ kind }) => kind === 'failover')).toHaveLength(1);
      expect(watched.faults).toEqual([]);
    } finally {
      await own.close();
      await shown.close();
    }
  });
});

describe('what is not of now', { timeout: 120_000 }, () => {
  it('is marked as old, with its age, when the coordinator is lost', async () => {
    const { page } = opened;
    await show(opened, '#/');
    const killedMs = systemClock.monotonicMs();
    await system.coordinatorProcess!.killAll();
    await page.getByText('The coordinator does not answer.').waitFor();
    expect(systemClock.monotonicMs() - killedMs).toBeLessThan(TOLD_MS_MAX);
    await page.getByText(/This page shows how things were at .* UTC, \d+ s ago/).waitFor();
    expect(await page.locator('main[data-old]').count()).toBe(1);
    expect(await page.locator(`tr[data-group=${GROUP}]`).count()).toBe(1);
    expect(await violationsOf(opened)).toEqual([]);
    await system.startCoordinator({ asProcess: true });
    await page.locator('main:not([data-old])').waitFor();
  });

  it('is marked as old when the dashboard itself has ended', async () => {
    await dashboard.kill();
    await opened.page.getByText('The dashboard on this machine does not answer.').waitFor();
    expect(await opened.page.locator('main[data-old]').count()).toBe(1);
  });
});
