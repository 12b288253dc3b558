import { afterEach, expect, it } from 'vitest';
import { LunaSite, type LunaSiteOptions } from '../../emulators/lunacm/luna-site.ts';

let site: LunaSite | undefined;
afterEach(() => site?.close());
function siteOf(options: LunaSiteOptions = {}): LunaSite {
  site = new LunaSite(options);
  return site;
}

it('backs up', async () => {
  const here = siteOf();
  here.addKeys(3);
  const report = await here.finish(
    here.driver.backUp({ source: here.source, vault: here.vault, partition: 'b1', password: here.secret('backup') }),
  );
  expect(report).toMatchObject({ verdict: 'complete', why: undefined });
});
