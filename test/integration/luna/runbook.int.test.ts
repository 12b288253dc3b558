/** The runbook for people: each of its commands is typed at the emulated tool, and the driver comes to the same end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { verificationOf } from '../../emulators/lunacm/commands/hsm.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { COMMANDS } from '../../emulators/lunacm/words.ts';
import { backUp, lunaSite, restore } from './support.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/runbooks/luna-backup-restore.md'), 'utf8');
const blocks = [...page.matchAll(/^```lunacm\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text.trim().split('\n'));

const RANDOM = 'A1B2-C3D4-E5F6-G7H8';

function factorySite(): LunaSite {
  const site = lunaSite();
  site.makeFactoryVault({ isInTransport: true });
  site.addKeys(3);
  site.addKey('of the last drill', site.target.address.serial);
  return site;
}

/** Types a block as one session. @returns what was printed */
async function type(site: LunaSite, lines: readonly string[]): Promise<string> {
  const { passwords } = site;
  const values: Record<string, string> = {
    'PASSWORD-OF-VAULT': passwords.vault,
    'PASSWORD-OF-SOURCE': passwords.source,
    'PASSWORD-OF-TARGET': passwords.target,
    'PASSWORD-OF-BACKUP': passwords.backup,
    'CLONING-DOMAIN': passwords.domain,
  };
  const typed = lines.map((line) => line.replace(/^=> /, '').replace(/[A-Z]+(?:-[A-Z]+)+/g, (word) => values[word]!));
  const tool = site.launcher.launch('terminal');
  let text = '';
  tool.read((bytes) => {
    text += Buffer.from(bytes).toString('utf8');
  });
  await tool.write(Buffer.from([...typed, 'exit', ''].join('\n')));
  await site.finish(tool.ended);
  return text;
}

const originsIn = (site: LunaSite, container: string): string[] =>
  site.objects
    .list(container)
    .map(({ origin }) => origin)
    .sort();

it('every command of the page works, in its order, and leaves what the page says', async () => {
  const site = factorySite();
  const made = originsIn(site, site.source.address.serial);
  expect(blocks).toHaveLength(5);
  for (const [index, lines] of blocks.entries()) {
    const text = await type(site, lines);
    const commands = lines.filter((line) => !line.startsWith('=> '));
    const trailers = text.split('\n').filter((line) => line.startsWith('Command Result'));
    expect(trailers).toEqual(commands.map(() => 'Command Result : No Error'));
    if (index === 0) expect(site.partition('532018')).toMatchObject({ label: 'vault', policies: { 55: 1 } });
    if (index === 1)
      expect(
        site
          .archived('june')
          .map(({ origin }) => origin)
          .sort(),
      ).toEqual(made);
    if (index === 2) expect(originsIn(site, site.target.address.serial)).toEqual(made);
    if (index === 3) expect(originsIn(site, site.target.address.serial)).toEqual([]);
  }
  expect(site.partition('532018').archives).toEqual([]);
  expect(originsIn(site, site.source.address.serial)).toEqual(made);
});

it('shows the string to compare before it asks', async () => {
  const site = factorySite();
  const text = await type(site, blocks[0]!);
  const shown = text.indexOf(verificationOf(site.partition('532018'), RANDOM));
  expect(shown).toBeGreaterThan(0);
  expect(text.indexOf("Type 'proceed'")).toBeGreaterThan(shown);
});

it('the driver comes to the same end', async () => {
  const site = factorySite();
  const byHand = factorySite();
  for (const lines of blocks.slice(0, 3)) await type(byHand, lines);
  const { vault, target } = site;
  await site.finish(
    site.driver.prepareVault(
      {
        ...{ vault: vault.address, password: site.secret('vault'), domain: site.secret('domain') },
        restrictedRestore: true,
        transport: { randomUserString: RANDOM, verificationString: verificationOf(site.partition('532018'), RANDOM) },
      },
      [{ action: 'prepare vault', target: vault.address }],
    ),
  );
  expect(await backUp(site, 'june')).toMatchObject({ verdict: 'complete' });
  await site.finish(site.driver.clear(target, [{ action: 'clear', target: target.address }]));
  expect(await restore(site, 'june')).toMatchObject({ verdict: 'complete' });
  const stateOf = (one: LunaSite) => ({
    vault: { ...one.partition('532018'), roles: undefined, domain: undefined, archives: undefined },
    archived: one.archived('june').map(({ label }) => label),
    restored: one.objects.list(target.address.serial).map(({ label }) => label),
  });
  expect(stateOf(site)).toEqual(stateOf(byHand));
});

it('knows each command of the page as one that the vendor has', () => {
  const lines = blocks.flat().filter((line) => !line.startsWith('=> '));
  const names = Object.keys(COMMANDS).sort((a, b) => b.length - a.length);
  for (const line of lines)
    expect(
      names.some((name) => line.startsWith(name)),
      line,
    ).toBe(true);
});
