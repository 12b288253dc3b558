/** A provider that fails where a test wants it to. */
import type { HsmProvider } from '@antipode/hsm-core';

/** The provider with some of its methods replaced: a fault where a test wants it. */
export function faulty(provider: HsmProvider, faults: Partial<HsmProvider>): HsmProvider {
  return new Proxy(provider, { get: (target, name: keyof HsmProvider) => faults[name] ?? target[name] });
}
