/** SoftHSM and NSS keep every promise of the provider that the simulated HSM of the unit tests keeps. */
import { openPartition } from '@antipode/hsm-core';
import {
  type ConformanceDevice,
  providerConformance,
  type Subject,
} from '@antipode/hsm-core/testing/provider-conformance';
import { silentLog, systemClock } from '@antipode/runtime';
import { childStartedBy } from '../../support/children.ts';
import { makeFipsToken, makeNssToken } from '../../support/devices/nss-tokens.ts';
import { makeProxiedToken } from '../../support/devices/p11-kit-tokens.ts';
import { makeVendorToken } from '../../support/devices/vendor-token.ts';
import { halveKeys } from '../../support/raw-token.ts';
import { CloningDomain, cloning, paired } from '../../support/softhsm-pair.ts';
import { type AnyToken, makeToken, type TestToken } from '../../support/tokens.ts';

async function subject(token: AnyToken): Promise<Subject> {
  const open = () => openPartition(token.config, { log: silentLog, clock: systemClock });
  let provider!: Awaited<ReturnType<typeof open>>;
  const worker = await childStartedBy(async () => {
    provider = await open();
  });
  const opened = [provider];
  return {
    provider,
    openAnother: async () => {
      const another = await open();
      opened.push(another);
      return another;
    },
    lose: async () => {
      process.kill(worker, 'SIGKILL');
    },
    halve: async () => {
      await provider.close();
      halveKeys(token as TestToken);
      const again = await open();
      opened.push(again);
      return again;
    },
    remove: async () => {
      for (const one of opened) await one.close();
      token.remove();
    },
  };
}

let domain: CloningDomain | undefined;

/** All of them share the token key of the first. */
async function clonable(token: TestToken): Promise<Subject> {
  if (domain === undefined) domain = new CloningDomain(paired(token));
  else await domain.join(paired(token));
  return subject(cloning(token));
}

/** Promises about cloning. */
const CLONES = [
  'names its cloning domain alike in two partitions of it, and at every time',
  'clones an object into another partition, equal in every attribute and in its value',
  'gives an outcome for an object that is gone, and a blob for the one beside it',
  'makes nothing of a blob that was changed, cut, or taken for another place',
  'leaves nothing of a blob that makes another object than its item says',
  'stops a batch at the first that fails, and keeps what it had made',
  'makes no second object of a repeat',
  'is refused by a partition of another cloning domain, before anything is changed',
];

const DEVICES: readonly ConformanceDevice[] = [
  {
    name: 'SoftHSM',
    lacks: ['full-storage'],
    skips: ['says that no more fits, with what was made until then'],
    make: (label) => clonable(makeToken(label)),
    makeForeign: (label) => subject(cloning(makeToken(label))),
  },
  {
    name: 'NSS softokn',
    lacks: [
      'data-objects',
      'second-key-per-id',
      'restrictions',
      'exact-secrets',
      'native-cloning',
      'half-made-keys',
      'full-storage',
    ],
    skips: [
      'tags secrets to the last byte, so that only who holds the domain key can test a guess',
      'seals secrets byte for byte, each bound to its place, and makes them again',
      ...CLONES,
      'says that no more fits, with what was made until then',
      'tells a key that was left half made from one that works',
    ],
    make: (label) => subject(makeNssToken(label)),
  },
  {
    name: 'NSS softokn in FIPS mode',
    lacks: [
      'data-objects',
      'second-key-per-id',
      'restrictions',
      'exact-secrets',
      'native-cloning',
      'half-made-keys',
      'full-storage',
    ],
    skips: [
      'tags secrets to the last byte, so that only who holds the domain key can test a guess',
      'seals secrets byte for byte, each bound to its place, and makes them again',
      ...CLONES,
      'says that no more fits, with what was made until then',
      'tells a key that was left half made from one that works',
    ],
    make: (label) => subject(makeFipsToken(label)),
  },
  {
    name: 'SoftHSM behind p11-kit-proxy',
    lacks: ['native-cloning', 'full-storage'],
    skips: [...CLONES, 'says that no more fits, with what was made until then'],
    make: (label) => subject(makeProxiedToken(label)),
  },
  {
    // AWS CloudHSM has these differences: a module in front of SoftHSM shows them.
    name: 'a token with X9.63 and a vendor number for RFC 5649',
    lacks: ['native-cloning', 'full-storage'],
    skips: [...CLONES, 'says that no more fits, with what was made until then'],
    make: (label) => subject(makeVendorToken(label)),
  },
];

for (const device of DEVICES) providerConformance(device);
