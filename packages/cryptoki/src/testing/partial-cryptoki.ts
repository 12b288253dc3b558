/** A module of which a test writes some of the calls itself, each as the binding has it. */
import type { Cryptoki } from '../cryptoki.ts';

/** Any other call ends the test: it names what was not expected. */
export function partialCryptoki(calls: Partial<Cryptoki>): Cryptoki {
  return new Proxy(calls as Cryptoki, {
    get(module, name, receiver) {
      if (name in module || typeof name === 'symbol') return Reflect.get(module, name, receiver) as unknown;
      throw new Error(`nobody has written ${String(name)} for this module`);
    },
  });
}
