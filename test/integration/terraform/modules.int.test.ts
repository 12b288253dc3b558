/** The modules alone: format, `validate` and `terraform test`, without a host. Then a program of the machine is enough. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findTerraform, INFRA, TERRAFORM_ENVIRONMENT } from '../../support/terraform.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const terraform = findTerraform();
if (terraform === undefined)
  console.error('The Terraform modules are not tried: neither terraform nor tofu is installed.');

const MODULES = ['modules/host', 'modules/site', 'modules/coordinator', 'modules/witness', 'examples/three-sites'];

describe.skipIf(terraform === undefined)('the Terraform modules', () => {
  // `init` writes beside the files.
  const folder = temporaryFolder('terraform-modules');
  cpSync(INFRA, folder, { recursive: true, filter: (path) => !path.includes('.terraform') });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function run(place: string, ...words: string[]): { status: number | null; output: string } {
    const { status, stdout, stderr } = spawnSync(terraform!, words, {
      cwd: join(folder, place),
      encoding: 'utf8',
      env: { ...process.env, ...TERRAFORM_ENVIRONMENT, TF_CLI_ARGS: '' },
    });
    return { status, output: `${stdout}${stderr}` };
  }

  it('are formatted', () => {
    expect(run('.', 'fmt', '-check', '-recursive', '-no-color')).toEqual({ status: 0, output: '' });
  });

  it.each(MODULES)('%s is valid, and passes its tests without a download', (place) => {
    const begun = run(place, 'init', '-no-color', '-backend=false');
    expect(begun).toMatchObject({ status: 0 });
    expect(existsSync(join(folder, place, '.terraform/providers'))).toBe(false);
    expect(run(place, 'validate', '-no-color')).toMatchObject({ status: 0 });
    const tested = run(place, 'test', '-no-color');
    expect(tested.output).toMatch(/Success! [1-9]\d* passed, 0 failed/);
    expect(tested.status).toBe(0);
  });
});
