/**
 * Writes everything that is generated and committed: the code of both protocols, the documents of errors, commands and
 * metrics, and the tables of the Terraform modules.
 * With `--check` it writes nothing, and fails where the committed copy is not what would be written.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TERRAFORM_READMES, terraformReadme } from './generate-terraform-docs.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const binaries = join(root, 'node_modules', '.bin');

/** One template for each folder of generated code: hsm-core must not know the wire. */
const TEMPLATES = ['buf.gen.yaml', 'buf.gen.seal.yaml'];
const OUTPUTS = [
  'packages/protocol/src/gen',
  'packages/hsm-core/src/gen',
  'docs/errors.md',
  'docs/cli.md',
  'docs/metrics.md',
  ...TERRAFORM_READMES,
];

async function generateInto(folder: string): Promise<void> {
  const env = {
    ...process.env,
    PATH: [dirname(process.execPath), binaries, process.env['PATH']].join(delimiter),
  };
  for (const template of TEMPLATES) {
    const args = ['generate', '--template', template, '--output', folder];
    const { status } = spawnSync(join(binaries, 'buf'), args, { cwd: root, env, stdio: 'inherit' });
    if (status !== 0) throw new Error(`buf generate --template ${template} failed`);
  }
  // Loaded now: they need the generated code, which a new definition does not have before.
  const [{ errorDocs }, { cliDocs }, { metricsDocs }] = await Promise.all([
    import('./generate-error-docs.ts'),
    import('./generate-cli-docs.ts'),
    import('./generate-metrics-docs.ts'),
  ]);
  mkdirSync(join(folder, 'docs'), { recursive: true });
  writeFileSync(join(folder, 'docs/errors.md'), errorDocs());
  writeFileSync(join(folder, 'docs/cli.md'), await cliDocs());
  writeFileSync(join(folder, 'docs/metrics.md'), metricsDocs());
  for (const path of TERRAFORM_READMES) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), terraformReadme(path));
  }
}

/** The outputs under `folder` by their path. */
function outputsIn(folder: string): Map<string, string> {
  const files = OUTPUTS.map((output) => join(folder, output))
    .filter((output) => existsSync(output))
    .flatMap((output) => (output.endsWith('.md') ? [output] : filesUnder(output)));
  return new Map(files.map((file) => [relative(folder, file), readFileSync(file, 'utf8')]));
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Paths whose committed contents differ from what would be generated, extra files included. */
async function differences(): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-generate-'));
  try {
    await generateInto(folder);
    const [wanted, found] = [outputsIn(folder), outputsIn(root)];
    return [...new Set([...wanted.keys(), ...found.keys()])].filter((path) => wanted.get(path) !== found.get(path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv.includes('--check')) {
  const stale = await differences();
  if (stale.length > 0) {
    console.error(`Not what \`npm run generate\` writes:\n${stale.map((path) => `  ${path}`).join('\n')}`);
    process.exitCode = 1;
  }
} else {
  await generateInto(root);
}
