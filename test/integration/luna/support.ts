/** One site for each test, removed after it. */
import type { MoveReport } from '@antipode/hsm-core/luna';
import { afterEach } from 'vitest';
import { LunaSite, type LunaSiteOptions } from '../../emulators/lunacm/luna-site.ts';

const open: LunaSite[] = [];

afterEach(() => {
  for (const site of open.splice(0)) site.close();
});

export function lunaSite(options: LunaSiteOptions = {}): LunaSite {
  const site = new LunaSite(options);
  open.push(site);
  return site;
}

export const backUp = (site: LunaSite, partition = 'backup 1'): Promise<MoveReport> =>
  site.finish(
    site.driver.backUp({ source: site.source, vault: site.vault, partition, password: site.secret('backup') }),
  );

export const restore = (site: LunaSite, partition = 'backup 1', maskingKey?: string): Promise<MoveReport> =>
  site.finish(
    site.driver.restore({
      from: site.archive(partition),
      target: site.target,
      ...(maskingKey === undefined ? {} : { maskingKey }),
    }),
  );

export const clone = (site: LunaSite): Promise<MoveReport> =>
  site.finish(site.driver.clone({ source: site.source, target: site.target }));

/** How many objects of a report are in each state. */
export function statesOf({ objects }: MoveReport): Record<string, number> {
  const states: Record<string, number> = {};
  for (const { state } of objects) states[state] = (states[state] ?? 0) + 1;
  return states;
}

/** The commands of this kind that were typed, in order. */
export const typed = (site: LunaSite, command: string): string[] =>
  site.log.filter((line) => line.command === command).map((line) => line.typed ?? '');
