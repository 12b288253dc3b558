/**
 * `npm run package`: Debian packages of this commit, with what is in them and their digests. Nothing is compiled: the
 * package holds the sources and the locked Node, and nothing that only a build or a test needs (ADR 0061).
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { billOfMaterials, copyrightFile } from './bill-of-materials.ts';
import { buildArchive, writeControl } from './debian-package.ts';
import { stageIntegration } from './integration.ts';
import { ARCHITECTURES, type Architecture, productionPackages, run } from './production-packages.ts';
import { prove } from './proofs.ts';
import { linkWorkspaces, stageDocuments, stagePackages, stageSources } from './stage.ts';

const USAGE = `npm run package -- [--architecture amd64|arm64] [--output FOLDER] [--quick] [--verify]

  --architecture  one of them only; repeatable
  --output        where the packages go (dist)
  --quick         compress little: for tests
  --revision      a version to write into the package, for tests of upgrades
  --verify        build twice and compare, then try the package of this machine under systemd (needs root)`;

/** A package that grew beyond this holds something that nobody runs. */
const BYTES_MAX = 60 * 1024 * 1024;

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Options {
  readonly output: string;
  readonly isQuick: boolean;
  readonly version: string;
}

/** @returns the files that were made */
function build(architecture: Architecture, { output, isQuick, version }: Options): string[] {
  const scratch = mkdtempSync(join(tmpdir(), 'antipode-package-'));
  try {
    const target = join(scratch, 'root');
    const commit = run('git', ['rev-parse', 'HEAD'], { cwd: root }).trim();
    const epochSeconds = Number(
      process.env['SOURCE_DATE_EPOCH'] ?? run('git', ['log', '-1', '--format=%ct'], { cwd: root }),
    );
    const release = { version, commit, epochSeconds, architecture };
    const packages = productionPackages(root, architecture);
    linkWorkspaces(stageSources(root, target), target);
    const texts = stagePackages(packages, { root, target, scratch });
    const bom = billOfMaterials(release, packages);
    const copyright = copyrightFile(packages, { texts, own: readFileSync(join(root, 'LICENSE'), 'utf8') });
    stageDocuments(root, target, 'usr/share/doc/antipode');
    stageIntegration({ root, target, bom, copyright, epochSeconds });
    writeControl(target, { version, architecture, scripts: join(root, 'packaging/debian') });
    const name = join(output, `antipode_${version}_${architecture}`);
    buildArchive(target, `${name}.deb`, { epochSeconds, isQuick });
    writeFileSync(`${name}.cdx.json`, bom);
    writeFileSync(`${name}.licences.txt`, copyright);
    return [`${name}.deb`, `${name}.cdx.json`, `${name}.licences.txt`];
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const digestOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

function main(): void {
  const { values } = parseArgs({
    options: {
      architecture: { type: 'string', multiple: true },
      output: { type: 'string', default: join(root, 'dist') },
      quick: { type: 'boolean', default: false },
      revision: { type: 'string' },
      verify: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  // Folders of the package must not depend on who builds it.
  process.umask(0o022);
  const architectures = (values.architecture ?? Object.keys(ARCHITECTURES)) as Architecture[];
  for (const one of architectures)
    if (!Object.hasOwn(ARCHITECTURES, one)) throw new Error(`unknown architecture ${one}\n\n${USAGE}`);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const output = resolve(values.output);
  mkdirSync(output, { recursive: true });
  const options = { output, isQuick: values.quick, version: values.revision ?? version };
  const changed = run('git', ['status', '--porcelain'], { cwd: root }).trim();
  if (changed !== '') console.error('The tree has changes that are not committed. They are packed too.');
  const files = architectures.flatMap((one) => build(one, options));
  writeFileSync(join(output, 'SHA256SUMS'), files.map((file) => `${digestOf(file)}  ${basename(file)}\n`).join(''));
  for (const file of files.filter((path) => path.endsWith('.deb'))) {
    const { size } = statSync(file);
    console.error(`${file}  ${(size / 1024 / 1024).toFixed(1)} MiB`);
    if (!values.quick && size > BYTES_MAX) throw new Error(`${file} has ${size} bytes, expected ${BYTES_MAX} at most`);
  }
  if (values.verify)
    prove({ root, files, architectures, build: (one, into) => build(one, { ...options, output: into }) });
}

try {
  main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
