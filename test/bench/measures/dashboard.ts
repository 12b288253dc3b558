/**
 * The page of 500 groups of which each changes every second: its first paint, its bytes, and the processor that it costs.
 * The coordinator is a fake, so that only the dashboard and the browser are measured.
 */
import { Dashboard } from '@antipode/dashboard';
import { type GetStatusResponse, GetStatusResponseSchema, MemberRole } from '@antipode/protocol';
import { systemClock, systemPrng } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import { startBrowser } from '../../support/browser.ts';

type Operator = ConstructorParameters<typeof Dashboard>[0]['operator'];

const GROUPS = 500;
const SITES = ['a', 'b', 'c', 'd', 'e'];
const SECONDS = 20;
const ROUNDS = 5;

export interface DashboardResult {
  readonly groups: number;
  /** From the request to the first contentful paint, each round in a fresh browser profile. */
  readonly firstPaintMs: readonly number[];
  /** Everything that the page loads, as it crosses. */
  readonly compressedBytes: number;
  readonly requests: number;
  /** Shares of one core: the local server, the main thread of the page, and all processes of the browser. */
  readonly serverCore: number;
  readonly pageCore: number;
  readonly browserCore: number;
}

/** A fleet whose every group has another generation in each second. */
function statusAt(second: number): GetStatusResponse {
  return create(GetStatusResponseSchema, {
    coordinator: 'main',
    version: '0.1.0',
    isLeader: true,
    isQueueUp: true,
    sites: SITES.map((site) => ({ site, state: 'up', stateAgeMs: 60_000n, silenceMs: 300n, version: '0.1.0' })),
    groups: Array.from({ length: GROUPS }, (_, at) => groupAt(at, second)),
  });
}

function groupAt(at: number, second: number) {
  const generation = BigInt(second + at);
  const active = SITES[at % SITES.length]!;
  return {
    spec: { name: `group-${String(at).padStart(4, '0')}`, rpoSeconds: 300 },
    epoch: 1n,
    activeSite: active,
    protection: at % 97 === 0 ? 'lagging' : 'protected',
    newest: { generation, objectCount: 40 },
    recoveryPointAgeMs: BigInt(1_000 * (at % 60)),
    lastProvenMs: 1_767_225_600_000n,
    members: SITES.slice(0, 4).map((site) => ({
      site,
      serial: '1f',
      siteState: 'up',
      role: site === active ? MemberRole.ACTIVE : MemberRole.STANDBY,
      acknowledgedGeneration: generation,
    })),
  };
}

export async function measureDashboard(tell: (text: string) => void): Promise<DashboardResult> {
  const startMs = systemClock.monotonicMs();
  const getStatus = async () => statusAt(Math.floor((systemClock.monotonicMs() - startMs) / 1_000));
  const addresses: string[] = [];
  const dashboard = new Dashboard(
    {
      operator: { getStatus } as Partial<Operator> as Operator,
      identity: { trustDomain: 'bench.antipode', kind: 'operator', name: 'bench', role: 'viewer' },
      clock: systemClock,
      prng: systemPrng,
      approver: undefined,
    },
    { host: '127.0.0.1', port: 0, takesOrders: false, tell: (address) => addresses.push(address) },
  );
  await dashboard.start();
  const browser = await startBrowser();
  try {
    const firstPaintMs: number[] = [];
    let loaded = { bytes: 0, requests: 0 };
    let steady = { serverCore: 0, pageCore: 0, browserCore: 0 };
    // The first round warms the files of the page and the browser, and does not count.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
      const page = await context.newPage();
      await page.goto(addresses.at(-1)!);
      await page
        .locator('tr[data-group]')
        .nth(GROUPS - 1)
        .waitFor();
      const paint = Number(await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"));
      if (round > 0) firstPaintMs.push(paint);
      loaded = (await page.evaluate(
        "(() => { const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter(({ name }) => !name.includes('/api/')); return { bytes: all.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0), requests: all.length }; })()",
      )) as typeof loaded;
      tell(
        `  round ${round}: first paint after ${paint.toFixed(0)} ms, ${loaded.bytes} bytes in ${loaded.requests} files`,
      );
      if (round === ROUNDS) {
        const session = await context.newCDPSession(page);
        await session.send('Performance.enable');
        const root = await browser.newBrowserCDPSession();
        const sample = async () => {
          const { metrics } = await session.send('Performance.getMetrics');
          const { processInfo } = await root.send('SystemInfo.getProcessInfo');
          const { user, system } = process.cpuUsage();
          return {
            page: metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0,
            browser: processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0),
            server: (user + system) / 1e6,
            at: systemClock.monotonicMs() / 1_000,
          };
        };
        const before = await sample();
        await systemClock.sleep(SECONDS * 1_000);
        const after = await sample();
        const share = (what: 'page' | 'browser' | 'server'): number =>
          (after[what] - before[what]) / (after.at - before.at);
        steady = { serverCore: share('server'), pageCore: share('page'), browserCore: share('browser') };
      }
      await context.close();
    }
    return { groups: GROUPS, firstPaintMs, compressedBytes: loaded.bytes, requests: loaded.requests, ...steady };
  } finally {
    await browser.close();
    await dashboard.close();
  }
}
