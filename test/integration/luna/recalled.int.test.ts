/** How much of a green suite depends on texts that nobody has confirmed on a device: the page says it, and this counts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPhrases, recalledFormNames } from '@antipode/hsm-core/luna';
import { expect, it } from 'vitest';
import { verificationOf } from '../../emulators/lunacm/commands/hsm.ts';
import { Dialect } from '../../emulators/lunacm/dialect.ts';
import { COMMANDS } from '../../emulators/lunacm/words.ts';
import { backUp, clone, lunaSite, restore } from './support.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/devices/luna.md'), 'utf8');

const prose = page.replaceAll(/\s+/g, ' ');

it('the page says how many phrases and commands of the driver are recalled', () => {
  const recalled = Object.values(readPhrases()).filter(({ mark }) => mark === 'K');
  expect(prose).toMatch(
    new RegExp(`\\*\\*${recalled.length} recalled phrases and ${recalledFormNames().length} recalled commands`),
  );
});

it('the page says how many texts of the emulator are recalled that the jobs depend on', async () => {
  const site = lunaSite();
  const { driver } = site;
  site.addKeys(2);
  await backUp(site);
  await restore(site);
  // Refused, so that texts of failures are among them.
  await clone(site);
  site.replace('154438865301', { fips: 'on' });
  await site.finish(driver.examine(site.target.address, 'partition'));
  await site.finish(driver.examine(site.vault.address, 'device'));
  await site.finish(driver.clear(site.target, [{ action: 'clear', target: site.target.address }]));
  site.makeFactoryVault({ isInTransport: true });
  const random = 'A1B2-C3D4-E5F6-G7H8';
  await site.finish(
    driver.prepareVault(
      {
        ...{ vault: site.vault.address, password: site.secret('vault'), domain: site.secret('domain') },
        restrictedRestore: true,
        transport: {
          randomUserString: random,
          verificationString: verificationOf(site.partition('532018'), random),
        },
      },
      [{ action: 'prepare vault', target: site.vault.address }],
    ),
  );
  const { strings } = Dialect.read('10.7');
  const { texts, commands } = site.used;
  const recalled = [
    ...[...texts].filter((key) => strings[key]?.mark === 'K'),
    ...[...commands].filter((command) => COMMANDS[command]?.mark === 'K'),
  ];
  expect(prose).toContain(`**${recalled.length} recalled texts and commands**`);
});

it('every text has a source', () => {
  for (const name of ['7.1', '7.2', '7.11', '10.7', 'hostile'])
    for (const { source, mark } of Object.values(Dialect.read(name).strings))
      expect([source !== '', mark]).toContain(true);
});
