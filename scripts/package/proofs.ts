/** The slow proofs of a release: the same bytes a second time, and the package itself under a real systemd. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Architecture, run } from './production-packages.ts';

const TEST = 'test/integration/package/package.int.test.ts';

const digestOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

export function prove({
  root,
  files,
  architectures,
  build,
}: {
  root: string;
  files: readonly string[];
  architectures: readonly Architecture[];
  build: (architecture: Architecture, output: string) => string[];
}): void {
  const again = mkdtempSync(join(tmpdir(), 'antipode-package-again-'));
  try {
    const second = architectures.flatMap((one) => build(one, again));
    for (const [at, file] of files.entries()) {
      const other = second[at] ?? '';
      if (digestOf(file) !== digestOf(other)) throw new Error(`${basename(file)} differs from one build to the next`);
      console.error(`the same bytes in two builds: ${basename(file)}`);
    }
  } finally {
    rmSync(again, { recursive: true, force: true });
  }
  const own = files.find((file) => file.endsWith(`_${process.arch === 'x64' ? 'amd64' : process.arch}.deb`));
  if (own === undefined) {
    console.error('No package for this machine was built: nothing is installed.');
    return;
  }
  const output = run(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', TEST], {
    cwd: root,
    env: { ...process.env, ANTIPODE_PACKAGE: own },
  });
  console.error(output.trim().split('\n').slice(-6).join('\n'));
}
