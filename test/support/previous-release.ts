/**
 * The release before this tree, as a tree of its own beside it. Its programs run on the packages of this tree. Today's
 * agents and coordinators must work together with its agents and coordinators (docs/upgrading.md).
 *
 * `PREVIOUS_RELEASE` is the one place that names it. Move it in the commit that begins the next release, to the tag of
 * the release that was just made, and never to a commit that no user could run. Until there is a tag, it names the last
 * commit before heartbeats told only what has changed (ADR 0054), and before manifests had format 4 (ADR 0055).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { temporaryFolder } from './tokens.ts';

export const PREVIOUS_RELEASE = {
  /** A tag, or a whole commit id. */
  revision: '8971eecd18d8dc73a460a5a4bcdb6945d77e81aa',
  /**
   * Packages of which the lock file of that release names another version than ours, where both have been looked at and
   * the version of this tree will do for both.
   */
  otherPackages: [] as readonly string[],
};

const ROOT = join(import.meta.dirname, '../..');
const PARTS = ['package.json', 'package-lock.json', 'apps', 'bin', 'packages', 'services'];
const WORKSPACES = ['apps', 'packages', 'services'];

const git = (...args: string[]) =>
  spawnSync('git', ['-c', `safe.directory=${ROOT}`, ...args], { cwd: ROOT, maxBuffer: 256 << 20 });

/** Why the previous release cannot be had here, for the notice of a test that is skipped; undefined where it can. */
export function whyNoPreviousRelease(): string | undefined {
  const { status, error } = git('cat-file', '-e', `${PREVIOUS_RELEASE.revision}^{commit}`);
  if (status === 0) return undefined;
  return error === undefined
    ? `commit ${PREVIOUS_RELEASE.revision} of the previous release is not in this clone (git fetch --unshallow --tags)`
    : `git cannot be run: ${error.message}`;
}

/** One file of it. */
export function fileOfPreviousRelease(path: string): string {
  const { status, stdout, stderr } = git('show', `${PREVIOUS_RELEASE.revision}:${path}`);
  if (status !== 0) throw new Error(`git show ${path}: ${stderr}`);
  return stdout.toString();
}

export class PreviousRelease {
  /** The root of its tree. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static unpack(): PreviousRelease {
    const root = temporaryFolder('previous');
    const { status, stdout, stderr } = git('archive', '--format=tar', PREVIOUS_RELEASE.revision, '--', ...PARTS);
    if (status !== 0) throw new Error(`git archive: ${stderr}`);
    execFileSync('tar', ['-x', '-C', root], { input: stdout });
    const differing = otherVersions(root).filter((name) => !PREVIOUS_RELEASE.otherPackages.includes(name));
    if (differing.length > 0)
      throw new Error(`the previous release has other versions of ${differing.join(', ')}: see otherPackages`);
    linkPackages(root);
    return new PreviousRelease(root);
  }

  /** A tree that differs from this one in the number of its version, and in nothing else. */
  static ofThisTree({ version }: { version: string }): PreviousRelease {
    const root = temporaryFolder('version');
    execFileSync('cp', ['-a', ...PARTS.map((part) => join(ROOT, part)), root]);
    const file = join(root, 'packages/runtime/src/version.ts');
    const source = readFileSync(file, 'utf8');
    const other = source.replace(/VERSION = '[^']+'/, `VERSION = '${version}'`);
    if (other === source) throw new Error(`${file} does not name another version than ${version}`);
    writeFileSync(file, other);
    linkPackages(root);
    return new PreviousRelease(root);
  }

  /** Runs its `antipode` command to its end. @returns what it printed to standard output */
  run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
    const { DATABASE_URL: _database, REDIS_URL: _redis, ...inherited } = process.env;
    const { status, stdout, stderr } = spawnSync(process.execPath, [mainOf(this.root), ...args], {
      env: { ...inherited, ...environment },
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`antipode ${args.join(' ')} of the previous release: ${stderr}`);
    return stdout;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The program of a tree. */
export const mainOf = (root: string): string => join(root, 'apps/cli/src/main.ts');

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly dev?: boolean; link?: boolean }>>;
}

const lockOf = (root: string): Lock => JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;

/** Packages that its programs need, and that this tree has in another version or not at all. */
function otherVersions(root: string): string[] {
  const ours = lockOf(ROOT).packages;
  return Object.entries(lockOf(root).packages).flatMap(([path, { version, dev }]) =>
    path.startsWith('node_modules/') && dev !== true && ours[path]?.version !== version ? [path.slice(13)] : [],
  );
}

/** All packages of this tree, but its own workspaces instead of ours. */
function linkPackages(root: string): void {
  const [ours, theirs] = [join(ROOT, 'node_modules'), join(root, 'node_modules')];
  mkdirSync(join(theirs, '@antipode'), { recursive: true });
  for (const name of readdirSync(ours))
    if (name !== '@antipode' && !name.startsWith('.')) symlinkSync(join(ours, name), join(theirs, name));
  for (const folder of WORKSPACES)
    for (const workspace of readdirSync(join(root, folder))) {
      const path = join(root, folder, workspace);
      if (!lstatSync(path).isDirectory()) continue;
      const { name } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as { name: string };
      symlinkSync(relative(join(theirs, '@antipode'), path), join(theirs, name));
    }
}
