/**
 * The alert rules in a real Prometheus that scrapes the processes of a test. Every `for:` is a second
 * and a half: expressions and their thresholds are as in production. A rule reads the calls of
 * {@link LiveAlerts.raised}, and knows by them which alerts have a live cause (test/rules/live-alerts.test.ts).
 */
import { systemClock } from '@antipode/runtime';
import { rulesWithWaits } from './alert-rules.ts';
import { Prometheus } from './prometheus.ts';
import type { TestSystem } from './system.ts';

/** Longer than one scrape that fails. */
const WAIT_MS = 1_500;

export class LiveAlerts {
  readonly prometheus: Prometheus;
  readonly #until: TestSystem['until'];

  private constructor(prometheus: Prometheus, until: TestSystem['until']) {
    this.prometheus = prometheus;
    this.#until = until;
  }

  /** Scrapes every process of the system that serves its health, and others at these addresses, once they are there. */
  static async watch(system: TestSystem, later: readonly string[] = []): Promise<LiveAlerts> {
    const targets = [...system.health.values()];
    const rules = rulesWithWaits({ ms: WAIT_MS });
    return new LiveAlerts(await Prometheus.start({ targets, later, rules }), system.until.bind(system));
  }

  /** Alerts that do not fire before this cause, and do after it. */
  async raised(cause: () => unknown, ...alerts: readonly string[]): Promise<void> {
    await this.#untilQuiet(alerts);
    const sinceMs = systemClock.wallMs();
    await cause();
    await this.#untilNone('fired', async () => {
      const fired = await this.prometheus.fired({ sinceMs });
      return alerts.filter((alert) => !fired.has(alert));
    });
  }

  /** Alerts that fire before this repair, and end after it. */
  async resolved(repair: () => unknown, ...alerts: readonly string[]): Promise<void> {
    // A scrape that fails on a busy machine ends an alert for a moment.
    await this.#untilNone('fired again', async () => {
      const firing = await this.prometheus.firing();
      return alerts.filter((alert) => !firing.has(alert));
    });
    await repair();
    await this.#untilQuiet(alerts);
  }

  #untilQuiet(alerts: readonly string[]): Promise<void> {
    return this.#untilNone('ended', async () => {
      const firing = await this.prometheus.firing();
      return alerts.filter((alert) => firing.has(alert));
    });
  }

  async #untilNone(verb: string, missing: () => Promise<string[]>): Promise<void> {
    await this.#until(`the alerts have ${verb}`, async () => {
      const names = await missing();
      if (names.length > 0) throw new Error(`not ${verb} yet: ${names.join(', ')}`);
      return true;
    });
  }

  close(): Promise<void> {
    return this.prometheus.close();
  }
}
