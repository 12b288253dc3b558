/** A SoftHSM token of the demonstration, and the tools that an operator would use on it: pkcs11-tool and openssl. */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';
import { type SoftHsmEnvironment, softhsmFolder, softhsmModule } from './town/softhsm.ts';

export interface DemoToken {
  readonly label: string;
  readonly pinFile: string;
  readonly environment: SoftHsmEnvironment;
  /** Runs pkcs11-tool on this token, logged in. */
  tool(...args: string[]): Buffer;
}

/**
 * Antipode itself takes PINs from files only. pkcs11-tool asks for a PIN at a terminal, and without a terminal it reads
 * the PIN from a variable. These throw-away PINs reach it by a variable, since everybody can read its command line.
 */
export function makeDemoToken({ folder, label }: { folder: string; label: string }): DemoToken {
  const environment = softhsmFolder(folder);
  const pin = String(randomInt(10_000_000, 99_999_999));
  const soPin = String(randomInt(10_000_000, 99_999_999));
  const module = softhsmModule();
  const env = { ...process.env, ...environment, DEMO_PIN: pin, DEMO_SO_PIN: soPin };
  const run = (what: string, args: readonly string[]): Buffer =>
    runTool('pkcs11-tool', { what, args: ['--module', module, ...args], env });
  const so = ['--so-pin', 'env:DEMO_SO_PIN'];
  run('--init-token', ['--init-token', '--slot-index', '0', '--label', label, ...so]);
  run('--init-pin', [
    '--init-pin',
    '--token-label',
    label,
    '--login',
    '--login-type',
    'so',
    ...so,
    '--new-pin',
    'env:DEMO_PIN',
  ]);
  const pinFile = join(folder, `${label}.pin`);
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  return {
    label,
    pinFile,
    environment,
    tool: (...args) => run(args[0] ?? '', ['--token-label', label, '--login', '--pin', 'env:DEMO_PIN', ...args]),
  };
}

export function openssl(...args: string[]): Buffer {
  return runTool('openssl', { what: args[0] ?? '', args, env: process.env });
}

/** @returns its standard output. @throws PROGRAM_MISSING, saying what it wrote last */
function runTool(
  program: string,
  { what, args, env }: { what: string; args: readonly string[]; env: NodeJS.ProcessEnv },
): Buffer {
  try {
    return execFileSync(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  } catch (cause) {
    const { stderr, message } = cause as { stderr?: Buffer | null; message: string };
    const said = (stderr ?? '').toString().trim().split('\n').slice(-2).join(' ') || message;
    throw new AntipodeError('PROGRAM_MISSING', `${program} ${what} failed: ${said}`, { details: { program }, cause });
  }
}
