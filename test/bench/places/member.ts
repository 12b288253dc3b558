/** A member partition on a given token, and how long each call to its provider took. */
import { type HsmProvider, openPartition } from '@antipode/hsm-core';
import { silentLog, systemClock } from '@antipode/runtime';
import { TestMember } from '../../support/members.ts';
import type { TestToken } from '../../support/tokens.ts';

/** By method of the provider. */
export type CallTimes = Record<string, { count: number; ms: number }>;

export class BenchMember extends TestMember {
  #times: CallTimes = {};

  readonly #workerEnvironment: Readonly<Record<string, string>>;

  private constructor(token: TestToken, workerEnvironment: Readonly<Record<string, string>>) {
    super(token);
    this.#workerEnvironment = workerEnvironment;
  }

  /** Opens a token and gives it an identity. `workerEnvironment` is for profiling the worker. */
  static async open(token: TestToken, workerEnvironment: Readonly<Record<string, string>> = {}): Promise<BenchMember> {
    const member = new BenchMember(token, workerEnvironment);
    await member.initialise();
    return member;
  }

  protected override async openProvider(): Promise<HsmProvider> {
    const { config } = this.token;
    const environment = { ...config.environment, ...this.#workerEnvironment };
    return this.#timed(await openPartition({ ...config, environment }, { log: silentLog, clock: systemClock }));
  }

  /** The calls since the last question. */
  takeTimes(): CallTimes {
    const times = this.#times;
    this.#times = {};
    return times;
  }

  #timed(provider: HsmProvider): HsmProvider {
    const methods = Object.entries(provider).map(([name, method]: [string, (...args: never[]) => Promise<unknown>]) => [
      name,
      async (...args: never[]) => {
        const startMs = systemClock.monotonicMs();
        try {
          return await method(...args);
        } finally {
          const time = this.#times[name] ?? { count: 0, ms: 0 };
          this.#times[name] = { count: time.count + 1, ms: time.ms + systemClock.monotonicMs() - startMs };
        }
      },
    ]);
    return Object.fromEntries(methods) as HsmProvider;
  }
}
