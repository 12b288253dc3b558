import { seededPrng, sha256 } from '@antipode/runtime';
import { SimulatedHsm } from '../simulated-hsm.ts';
import { providerConformance, type Subject } from './provider-conformance.ts';

function subject(label: string, cloningDomain: string): Subject {
  const hsm = new SimulatedHsm({ serial: label, prng: seededPrng(label) });
  hsm.cloningKey = sha256(Buffer.from(cloningDomain));
  const provider = hsm.open();
  return {
    provider,
    openAnother: async () => hsm.open(),
    lose: async () => provider.lose(),
    halve: async () => {
      for (const object of hsm.objects) if (object.attributes.extractable === true) delete object.value;
      return hsm.open();
    },
    limit: (objects) => {
      hsm.objectsMax = hsm.objects.length + objects;
    },
    remove: async () => provider.close(),
  };
}

providerConformance({
  name: 'the simulated HSM',
  lacks: ['rsa', 'p-384'],
  skips: [],
  make: async (label): Promise<Subject> => subject(label, 'one cloning domain'),
  makeForeign: async (label): Promise<Subject> => subject(label, 'another cloning domain'),
});
