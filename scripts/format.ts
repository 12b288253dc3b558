/** Formats the sources and sorts their imports. */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const paths = process.argv.slice(2);
const args = ['check', '--write', '--linter-enabled=false', ...paths];
process.exitCode = spawnSync(join(root, 'node_modules/.bin/biome'), args, { cwd: root, stdio: 'inherit' }).status ?? 1;
