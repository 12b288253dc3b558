import { seededPrng } from '@antipode/runtime';
import { SimulatedHsm } from '../simulated-hsm.ts';
import { providerConformance, type Subject } from './provider-conformance.ts';

providerConformance({
  name: 'the simulated HSM',
  lacks: ['rsa', 'p-384'],
  skips: [],
  make: async (label): Promise<Subject> => {
    const hsm = new SimulatedHsm({ serial: label, prng: seededPrng(label) });
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
  },
});
