/** The cloner of Luna partitions keeps its promises: emulated devices, the tool as processes, and real tokens. */
import { openPartition } from '@antipode/hsm-core';
import { deviceConformance } from '@antipode/hsm-core/testing/device-cloning';
import { silentLog, systemClock } from '@antipode/runtime';
import { LunaNetwork } from '../../support/luna-network.ts';
import { CloningDomain, paired } from '../../support/softhsm-pair.ts';
import { makeToken, temporaryFolder, USER_PIN } from '../../support/tokens.ts';

deviceConformance({
  name: 'emulated Luna partitions',
  make: async () => {
    const [source, target] = [paired(makeToken('par0')), paired(makeToken('par1'))];
    await new CloningDomain(source).join(target);
    const partitions = [source, target].map((one) => ({ ...one, pin: USER_PIN }));
    const luna = new LunaNetwork(temporaryFolder('luna-network'), partitions);
    const open = ({ token, serial }: typeof source) =>
      openPartition({ ...token.config, native: luna.cloningOf(serial) }, { log: silentLog, clock: systemClock });
    const providers = [await open(source), await open(target)] as const;
    return {
      source: providers[0],
      target: providers[1],
      reach: (isReachable) => luna.change(source.serial, { isReachable }),
      estrange: (isOther) => luna.change(source.serial, { domain: isOther ? 'two' : 'one' }),
      remove: async () => {
        for (const provider of providers) await provider.close();
        for (const { token } of [source, target]) token.remove();
        luna.remove();
      },
    };
  },
});
