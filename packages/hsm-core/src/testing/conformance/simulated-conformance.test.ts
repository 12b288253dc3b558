import { seededPrng, sha256 } from '@antipode/runtime';
import { SimulatedHsm } from '../simulated-hsm.ts';
import { deviceConformance } from './device-cloning.ts';
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
  lacks: { rsa: 'the simulation has no RSA', 'p-384': 'the simulation has one curve' },
  skips: [],
  make: async (label): Promise<Subject> => subject(label, 'one cloning domain'),
  makeForeign: async (label): Promise<Subject> => subject(label, 'another cloning domain'),
});

deviceConformance({
  name: 'the simulated HSM',
  make: async () => {
    const [source, target] = ['source', 'target'].map((serial) => {
      const hsm = new SimulatedHsm({ serial, prng: seededPrng(serial) });
      hsm.cloningKey = sha256(Buffer.from('one cloning domain'));
      return hsm;
    }) as [SimulatedHsm, SimulatedHsm];
    source.sees = [target];
    target.sees = [source];
    return {
      source: source.open(),
      target: target.open(),
      reach: (isReached) => {
        source.isReached = isReached;
      },
      estrange: (isOther) => {
        source.cloningKey = sha256(Buffer.from(isOther ? 'another cloning domain' : 'one cloning domain'));
      },
      remove: async () => {},
    };
  },
});
