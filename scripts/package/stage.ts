/** Lays the files of the package into a folder: our sources as they are, and of every npm package what runs. */
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { folderOf, type ProductionPackage, run } from './production-packages.ts';

/** Where the tree lies on a machine. `bin/antipode` finds everything else from its own place. */
export const HOME = 'usr/lib/antipode';

/** Files that nobody runs: types, maps, sources of native code, texts. Licences stay. */
const SKIPPED_FILES =
  /(\.([cm]?ts|map|md|markdown|mdx|flow|tsbuildinfo|cc|cpp|hh?|asm|inc|gyp|gypi|def|c|S|ps1|cmd|o)|^CMakeLists\.txt|^\.[^/]*|^(yarn|pnpm)[-.].*|^(tsconfig|biome|jest\.config|rollup\.config|webpack\.config).*|^Makefile|^README.*|^CHANGELOG.*|^HISTORY.*)$/i;
const LICENCE_FILES = /^(licen[cs]e|notice|copying|copyright)/i;
/** At the root of a package only: further down, `doc` or `test` can be a part of the program. */
const SKIPPED_FOLDERS = new Set([
  'test',
  'tests',
  'docs',
  'doc',
  'example',
  'examples',
  'benchmark',
  'benchmarks',
  'coverage',
  'include',
  'share',
  'vendor',
  '.github',
]);
/** Native parts for another C library, or for the interface of another Node. */
const SKIPPED_NATIVE = /(\.musl\.node|\.abi\d+\.glibc\.node)$/;
const SKIPPED_NATIVE_FOLDERS = /^musl_/;

export function stageSources(root: string, target: string): string[] {
  const listed = run(
    'git',
    ['ls-files', '-z', '--', 'bin', 'apps', 'packages', 'services', 'package.json', 'LICENSE'],
    {
      cwd: root,
    },
  );
  const files = listed.split('\0').filter((path) => path !== '' && !isForTests(path));
  for (const path of files) {
    const { mode } = lstatSync(join(root, path));
    place(readFileSync(join(root, path)), join(target, HOME, path), (mode & 0o111) !== 0);
  }
  return files;
}

const isForTests = (path: string): boolean => /\.test\.ts$/.test(path) || path.split('/').includes('testing');

/** Node resolves a workspace to its real path, which is not below node_modules: so it strips the types there. */
export function linkWorkspaces(files: readonly string[], target: string): void {
  for (const manifest of files.filter((path) => /^(apps|packages|services)\/[^/]+\/package\.json$/.test(path))) {
    const { name } = JSON.parse(readFileSync(join(target, HOME, manifest), 'utf8')) as { name: string };
    const link = join(target, HOME, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(relative(dirname(link), join(target, HOME, dirname(manifest))), link);
  }
}

/** @returns the licence texts of each package */
export function stagePackages(
  packages: readonly ProductionPackage[],
  { root, target, scratch }: { root: string; target: string; scratch: string },
): Map<string, string[]> {
  const texts = new Map<string, string[]>();
  for (const one of packages) {
    const folder = folderOf(one, { root, scratch });
    const own: string[] = [];
    for (const path of filesOf(folder)) {
      const contents = readFileSync(join(folder, path));
      if (LICENCE_FILES.test(path)) own.push(contents.toString('utf8'));
      const isProgram = /^bin\/node$/.test(path) && /^node-linux-/.test(one.name);
      place(contents, join(target, HOME, one.path, path), isProgram);
    }
    texts.set(one.path, own);
  }
  return texts;
}

/** Packages that a package has below itself have an entry of their own in the lock file. */
function filesOf(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below), { withFileTypes: true })
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) {
        const isSkipped =
          entry.name === 'node_modules' ||
          SKIPPED_NATIVE_FOLDERS.test(entry.name) ||
          (below === '' && SKIPPED_FOLDERS.has(entry.name));
        return isSkipped ? [] : filesOf(folder, path);
      }
      if (!entry.isFile()) return [];
      if (LICENCE_FILES.test(entry.name)) return [path];
      return SKIPPED_FILES.test(entry.name) || SKIPPED_NATIVE.test(entry.name) ? [] : [path];
    });
}

/** Documents, with the paths they have in the tree: their links stay right. */
export function stageDocuments(root: string, target: string, folder: string): void {
  for (const path of run('git', ['ls-files', '-z', '--', 'docs', 'infra', 'README.md', 'CHANGELOG.md', 'SECURITY.md'], {
    cwd: root,
  })
    .split('\0')
    .filter((path) => path !== '' && !/^infra\/terraform\/.*\/tests\//.test(path)))
    place(readFileSync(join(root, path)), join(target, folder, path), false);
}

/** The owner is set when the package is built, the time by `SOURCE_DATE_EPOCH`; the mode here, whatever the umask is. */
export function place(contents: string | Uint8Array, path: string, isProgram = false): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, contents);
  chmodSync(path, isProgram ? 0o755 : 0o644);
}
