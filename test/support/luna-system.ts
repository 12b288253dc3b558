/** Makes the members of a whole system partitions of emulated Luna devices. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LunaNetwork } from './luna-network.ts';
import { CloningDomain, type PairedToken, paired } from './softhsm-pair.ts';
import type { TestSystem } from './system.ts';

const SITES = ['a', 'b', 'c'];

/**
 * All tokens get one token key, as partitions of one cloning domain have one secret, and all agents a cloner. The agents
 * start again, those of `processes` as processes. `pins` has those of the sites, and `scratch`.
 */
export async function lunaNetworkOf(
  system: TestSystem,
  pins: Readonly<Record<string, string>>,
  { processes = [] }: { processes?: readonly string[] } = {},
): Promise<LunaNetwork> {
  for (const name of SITES) await system.stopAgent(name);
  const main = new Map(SITES.map((name) => [name, paired(system.site(name).token)]));
  const scratch = paired(system.site('c').scratch!);
  const domain = new CloningDomain(main.get('a')!);
  for (const one of [main.get('b')!, main.get('c')!, scratch]) await domain.join(one);
  const partitions = [
    ...SITES.map((name) => ({ ...main.get(name)!, pin: pins[name]! })),
    { ...scratch, pin: pins['scratch']! },
  ];
  const luna = new LunaNetwork(join(system.folder, 'luna'), partitions);
  for (const name of SITES) {
    const { configFile } = system.site(name);
    const natives: Record<string, PairedToken> = { main: main.get(name)!, scratch };
    const text = readFileSync(configFile, 'utf8').replace(
      /^( *)- name: (main|scratch)$/gm,
      (line, indent: string, which: string) => `${line}\n${indent}  native: ${luna.nativeOf(natives[which]!.serial)}`,
    );
    writeFileSync(configFile, text);
    appendFileSync(configFile, luna.clientSection);
    await system.startAgent(name, { asProcess: processes.includes(name) });
  }
  return luna;
}
