/** Terraform or OpenTofu of this machine, as an operator runs it. Their built-in provider only: nothing is downloaded. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** In this order. `ANTIPODE_TERRAFORM` names another one. */
const PROGRAMS = ['terraform', 'tofu'];

/** Undefined where none is installed. */
export function findTerraform(): string | undefined {
  const named = process.env['ANTIPODE_TERRAFORM'];
  const names = named === undefined ? PROGRAMS : [named];
  return names.find((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0);
}

export const INFRA = fileURLToPath(new URL('../../infra/terraform', import.meta.url));

/** Asks no server for news, has no colours, and reads no configuration of the user. */
export const TERRAFORM_ENVIRONMENT = {
  CHECKPOINT_DISABLE: '1',
  TF_IN_AUTOMATION: '1',
  TF_INPUT: '0',
  TF_CLI_CONFIG_FILE: '/dev/null',
  TF_CLI_ARGS: '-no-color',
} as const;
