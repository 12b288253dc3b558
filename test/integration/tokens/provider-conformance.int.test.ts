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

/** Makes partitions of one device. All of them share the token key of the first. */
function clonable<Token extends TestToken>(makeOne: (label: string) => Token): ConformanceDevice['make'] {
  let domain: CloningDomain | undefined;
  return async (label) => {
    const token = makeOne(label);
    if (domain === undefined) domain = new CloningDomain(paired(token));
    else await domain.join(paired(token));
    return subject(cloning(token));
  };
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

const NO_LIMIT = 'its store is a folder or a database, and grows with the disk: no number of objects fills it';

const NSS_LACKS = {
  'data-objects': 'its key database keeps no data objects',
  'second-key-per-id': 'it keeps one key of a class for each CKA_ID',
  restrictions: 'it has neither CKA_COPYABLE nor CKA_DESTROYABLE',
  'exact-secrets': 'it makes an unwrapped private key wider than its template, so it gets no key of the exact way',
  'native-cloning': 'no cloner is for it, since it gives unextractable keys to anybody who has its files and password',
  'half-made-keys': 'it writes each key in one transaction of SQLite, so a kill leaves no half of one',
  'full-storage': NO_LIMIT,
} as const;

const DEVICES: readonly ConformanceDevice[] = [
  {
    name: 'SoftHSM',
    lacks: { 'full-storage': NO_LIMIT },
    skips: ['says that no more fits, with what was made until then'],
    make: clonable(makeToken),
    makeForeign: (label) => subject(cloning(makeToken(label))),
  },
  {
    name: 'NSS softokn',
    lacks: NSS_LACKS,
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
    lacks: NSS_LACKS,
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
    lacks: { 'full-storage': NO_LIMIT },
    skips: ['says that no more fits, with what was made until then'],
    make: clonable(makeProxiedToken),
    makeForeign: (label) => subject(cloning(makeProxiedToken(label))),
  },
  {
    // AWS CloudHSM has these differences: a module in front of SoftHSM shows them.
    name: 'a token with X9.63 and a vendor number for RFC 5649',
    lacks: { 'full-storage': NO_LIMIT },
    skips: ['says that no more fits, with what was made until then'],
    make: clonable(makeVendorToken),
    makeForeign: (label) => subject(cloning(makeVendorToken(label))),
  },
];

for (const device of DEVICES) providerConformance(device);
