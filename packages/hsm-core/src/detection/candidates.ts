/**
 * The PKCS#11 modules that this machine may have: those in the configuration of p11-kit, those at the paths of vendors
 * (`known-modules.json`), and the one in the configuration of a Luna client. It loads none of them.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import known from './known-modules.json' with { type: 'json' };

export interface ModuleCandidate {
  readonly module: string;
  /** Its vendor, or the file that names it. */
  readonly source: string;
  /** Of C_Initialize. */
  readonly parameters?: string;
}

export interface MachineToSearch {
  /** Under which the paths are looked for: `/`, or a folder in tests. */
  readonly root: string;
  /** As Debian names it, such as x86_64-linux-gnu. */
  readonly multiarch: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const P11_KIT_FOLDERS = ['/etc/pkcs11/modules', '/usr/share/p11-kit/modules'];
const FILES_MAX = 64;
const BYTES_MAX = 64 * 1024;

export const thisMachine = (): MachineToSearch => ({
  root: '/',
  multiarch: process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu',
  environment: process.env,
});

/** Each file once, however many names it has. */
export function moduleCandidates(machine: MachineToSearch): ModuleCandidate[] {
  const found = [...fromVendors(machine), ...fromLuna(machine), ...fromP11Kit(machine)];
  const taken = new Set<string>();
  return found.filter(({ module, parameters }) => {
    const path = join(machine.root, module);
    if (!existsSync(path) || known.ignored.includes(basename(module))) return false;
    const key = `${realpathSync(path)} ${parameters ?? ''}`;
    if (taken.has(key)) return false;
    taken.add(key);
    return true;
  });
}

function fromVendors({ root, multiarch }: MachineToSearch): ModuleCandidate[] {
  return known.modules.flatMap(({ vendor, paths, databases }) =>
    paths
      .map((path) => path.replace('{multiarch}', multiarch))
      .flatMap((module): ModuleCandidate[] =>
        databases === undefined
          ? [{ module, source: vendor }]
          : databases
              .filter((folder) => existsSync(join(root, folder, 'key4.db')))
              .map((folder) => ({ module, source: vendor, parameters: nssParameters(folder) })),
      ),
  );
}

/** Not for writing: a detection changes nothing. */
const nssParameters = (folder: string): string =>
  `configdir='sql:${folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=noModDB,readOnly`;

/** `LibUNIX64 = /usr/safenet/lunaclient/lib/libCryptoki2_64.so;` in the section Chrystoki2. */
function fromLuna({ root, environment }: MachineToSearch): ModuleCandidate[] {
  const folder = environment['ChrystokiConfigurationPath'] ?? '/etc';
  const file = join(folder, 'Chrystoki.conf');
  const [, module] = /^\s*LibUNIX64\s*=\s*([^;\s]+)\s*;/m.exec(textOf(join(root, file))) ?? [];
  return module === undefined ? [] : [{ module, source: file }];
}

/** p11-kit takes a name without a folder from its own folder of modules. */
function fromP11Kit({ root, multiarch }: MachineToSearch): ModuleCandidate[] {
  return P11_KIT_FOLDERS.flatMap((folder) =>
    namesIn(join(root, folder)).flatMap((name): ModuleCandidate[] => {
      const file = join(folder, name);
      const [, given] = /^\s*module:\s*(\S+)\s*$/m.exec(textOf(join(root, file))) ?? [];
      if (given === undefined) return [];
      const places = isAbsolute(given)
        ? [given]
        : [`/usr/lib/${multiarch}/pkcs11/${given}`, `/usr/lib64/pkcs11/${given}`, `/usr/lib/pkcs11/${given}`];
      return places.map((module) => ({ module, source: file }));
    }),
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.module'))
      .sort()
      .slice(0, FILES_MAX);
  } catch {
    return [];
  }
}

/** Empty for one that cannot be read: then it names no module to this user. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(0, BYTES_MAX);
  } catch {
    return '';
  }
}
