/** Looks at the vaults of an agent. Nothing logs in, and nothing is changed. */

import { ownersOf } from '@antipode/hsm-core';
import { LunaDriver } from '@antipode/hsm-core/luna';
import { AntipodeError, readPinFile } from '@antipode/runtime';
import type { AgentConfig } from '@antipode/site-agent';
import { withTool } from '../commands/luna/tool.ts';
import type { Check } from './checks.ts';

export const vaultChecks = ({ vaults, dataFolder }: Pick<AgentConfig, 'vaults' | 'dataFolder'>): Check[] =>
  vaults.flatMap((vault): Check[] => [
    [
      `password files of vault ${vault.name}`,
      () => {
        const files = [vault.officerPasswordFile, vault.backupPasswordFile, vault.scratch?.pinFile];
        for (const file of files) if (file !== undefined) readPinFile(file, { owners: ownersOf(dataFolder) }).wipe();
      },
    ],
    [`vault ${vault.name}`, () => lookAt(vault)],
  ]);

/**
 * A vault that is not attached is as it should be: it is away for weeks.
 * @throws PARTITION_NOT_FOUND, LUNA_REFUSED, and what stops the reading
 */
function lookAt(vault: AgentConfig['vaults'][number]): Promise<string> {
  const { client, partition, scratch } = vault;
  const { lunacm, configuration: clientConfig, environment, buffering } = client;
  return withTool({ lunacm, clientConfig, environment, buffering }, async (ports) => {
    const driver = new LunaDriver(ports);
    const { slots } = await driver.survey();
    for (const [what, one] of [['partition', partition] as const, ['scratch', scratch] as const]) {
      if (one === undefined) continue;
      const slot = slots.find(({ serial }) => serial === one.serial);
      if (slot?.label === one.label) continue;
      throw new AntipodeError(
        'PARTITION_NOT_FOUND',
        slot === undefined
          ? `no slot of lunacm has the serial number of its ${what}, ${one.serial}`
          : `its ${what} ${one.serial} has another label than the configured one`,
        { details: { serial: one.serial } },
      );
    }
    const isAttached = slots.some(({ serial }) => serial === vault.serial);
    if (!isAttached) return 'not attached now; its backups are made when it is';
    const rows = await driver.compareEnds({ move: 'backup', from: partition, to: vault });
    const failing = rows.filter(({ verdict }) => verdict === 'will fail');
    const [first] = failing;
    if (first !== undefined)
      throw new AntipodeError('LUNA_REFUSED', `a backup will fail: ${failing.map(({ rule }) => rule).join(', ')}`, {
        details: { serial: vault.serial, found: first.found },
        hint: first.advice,
      });
    const unknown = rows.filter(({ verdict }) => verdict === 'not known').length;
    return `attached; nothing speaks against a backup${unknown === 0 ? '' : `, and ${unknown} rules cannot be judged without a login`}`;
  });
}
