/** Real SoftHSM tokens on tmpfs, one folder each, and the tools that operators use on them. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { softhsmFolder } from '@antipode/demo/softhsm';
import type { PartitionConfig } from '@antipode/hsm-core';

const run = promisify(execFile);
export const SOFTHSM_MODULE = '/usr/lib/softhsm/libsofthsm2.so';
export const USER_PIN = '77442200';
export const OFFICER_PIN = '11223344';

/** OpenSC's recording module (Debian package opensc-pkcs11, which opensc brings). */
export function spyModule(): string {
  const found = ['x86_64', 'aarch64']
    .map((machine) => `/usr/lib/${machine}-linux-gnu/pkcs11-spy.so`)
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error('pkcs11-spy.so is not installed');
  return found;
}

/** A folder on tmpfs where there is one; SoftHSM is an order of magnitude slower on a disk. */
export function temporaryFolder(name: string): string {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const folder = mkdtempSync(join(base, `antipode-${name}-`));
  MADE.add(folder);
  return folder;
}

const MADE = new Set<string>();

/** Every temporary folder of this process, for a program that is interrupted. */
export const madeFolders = (): readonly string[] => [...MADE];

/** A fresh token of whatever kind. */
export interface AnyToken {
  readonly folder: string;
  readonly label: string;
  readonly config: PartitionConfig;
  remove(): void;
}

/** One of SoftHSM. */
export interface TestToken extends AnyToken {
  readonly environment: { readonly SOFTHSM2_CONF: string };
  /** Runs pkcs11-tool, logged in, on this token. */
  tool(...args: string[]): string;
  toolAsync(...args: string[]): Promise<string>;
  /** Generates an extractable AES-256 key with this CKA_ID (hexadecimal) and the label `key <id>`. */
  makeAes(id: string): void;
  /** The same, for a test whose own process has something to go on with meanwhile. */
  makeAesAsync(id: string): Promise<void>;
}

/** @param options `fill` puts in a token that has been initialised under this label and PIN */
export function makeToken(
  label: string,
  {
    folder = temporaryFolder(label),
    pin = USER_PIN,
    fill,
  }: { folder?: string; pin?: string; fill?: ((tokens: string) => void) | undefined } = {},
): TestToken {
  const environment = softhsmFolder(folder);
  const env = { ...process.env, ...environment };
  if (fill !== undefined) fill(join(folder, 'tokens'));
  else
    execFileSync('softhsm2-util', ['--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', OFFICER_PIN], {
      env,
      stdio: 'pipe',
    });
  const pinFile = join(folder, `${label}.pin`);
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  const args = (rest: string[]): string[] => [
    '--module',
    SOFTHSM_MODULE,
    '--token-label',
    label,
    '--login',
    '--pin',
    pin,
    ...rest,
  ];
  const tool = (...rest: string[]): string =>
    execFileSync('pkcs11-tool', args(rest), { env, stdio: 'pipe' }).toString();
  const toolAsync = async (...rest: string[]): Promise<string> =>
    (await run('pkcs11-tool', args(rest), { env })).stdout;
  const aes = ['--keygen', '--key-type', 'aes:32', '--sensitive', '--extractable'];
  const named = (id: string): string[] => [...aes, '--id', id, '--label', `key ${id}`];
  return {
    folder,
    label,
    environment,
    config: { module: SOFTHSM_MODULE, tokenLabel: label, pinFile, environment, stateFolder: join(folder, 'state') },
    tool,
    toolAsync,
    makeAes: (id) => void tool(...named(id)),
    makeAesAsync: async (id) => void (await toolAsync(...named(id))),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
