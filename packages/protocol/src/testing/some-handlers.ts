import { AntipodeError } from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';
import type { Handlers } from '../server.ts';

/** Handlers of a service of which a test serves only some. Every other call is refused with NOT_FOUND. */
export function someHandlers<Service extends DescService>(
  _service: Service,
  some: Partial<Handlers<Service>>,
): Handlers<Service> {
  const refuse = async (): Promise<never> => {
    throw new AntipodeError('NOT_FOUND', 'not in this test');
  };
  return new Proxy(some as Handlers<Service>, {
    get: (own, name): unknown => Reflect.get(own, name) ?? refuse,
  });
}
