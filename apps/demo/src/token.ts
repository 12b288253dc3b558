/** A SoftHSM token of the demonstration, and the tools that an operator would use on it: pkcs11-tool and openssl. */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';
import { type SoftHsmEnvironment, softhsmFolder, softhsmModule } from './town/softhsm.ts';

/** The variable by which programs find the PIN of a token. */
export const PIN_VARIABLE = 'DEMO_PIN';

export interface DemoToken {
  /** Of its configuration, its files and its PIN. */
  readonly folder: string;
  readonly label: string;
  readonly pinFile: string;
  readonly environment: SoftHsmEnvironment;
  /** Runs pkcs11-tool on this token, logged in. */
  tool(...args: string[]): Buffer;
  /** Runs another program, with the module configured for this token and the PIN in `PIN_VARIABLE`. */
  run(program: string, ...args: string[]): Buffer;
}

interface TokenPlace {
  readonly folder: string;
  readonly label: string;
}

export const newPin = (): string => String(randomInt(10_000_000, 99_999_999));

/** An empty token of its own. */
export function makeDemoToken({ folder, label }: TokenPlace): DemoToken {
  const pin = newPin();
  const made = demoToken({ folder, label, pin });
  const env = { ...process.env, ...made.environment, [PIN_VARIABLE]: pin, DEMO_SO_PIN: newPin() };
  const initialise = (...args: string[]): Buffer =>
    runTool('pkcs11-tool', { what: args[0] ?? '', args: ['--module', softhsmModule(), ...args], env });
  const so = ['--so-pin', 'env:DEMO_SO_PIN'];
  initialise('--init-token', '--slot-index', '0', '--label', label, ...so);
  const login = ['--token-label', label, '--login', '--login-type', 'so', ...so];
  initialise('--init-pin', ...login, '--new-pin', `env:${PIN_VARIABLE}`);
  return made;
}

/**
 * A token that is there, or will be. Antipode itself takes PINs from files only. pkcs11-tool asks for a PIN at a terminal,
 * and without a terminal it reads the PIN from a variable. These throw-away PINs reach it by a variable, since everybody
 * can read its command line.
 */
export function demoToken({ folder, label, pin }: TokenPlace & { pin: string }): DemoToken {
  const environment = softhsmFolder(folder);
  const env = { ...process.env, ...environment, [PIN_VARIABLE]: pin };
  const login = ['--module', softhsmModule(), '--token-label', label, '--login', '--pin', `env:${PIN_VARIABLE}`];
  const pinFile = join(folder, `${label}.pin`);
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  return {
    folder,
    label,
    pinFile,
    environment,
    tool: (...args) => runTool('pkcs11-tool', { what: args[0] ?? '', args: [...login, ...args], env }),
    run: (program, ...args) => runTool(program, { what: args[0] ?? '', args, env }),
  };
}

export function openssl(...args: string[]): Buffer {
  return runTool('openssl', { what: args[0] ?? '', args, env: process.env });
}

/** @returns its standard output. @throws PROGRAM_MISSING, saying what it wrote last */
export function runTool(
  program: string,
  { what, args, env, input }: { what: string; args: readonly string[]; env: NodeJS.ProcessEnv; input?: string },
): Buffer {
  try {
    return execFileSync(program, args, {
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(input === undefined ? {} : { input }),
    });
  } catch (cause) {
    const { stderr, stdout, message } = cause as { stderr?: Buffer | null; stdout?: Buffer | null; message: string };
    // keytool writes its errors to its standard output.
    const written = [stderr, stdout].map((bytes) => (bytes ?? '').toString().trim()).find((text) => text !== '');
    const said = (written ?? '').split('\n').slice(-2).join(' ') || message;
    throw new AntipodeError('PROGRAM_MISSING', `${program} ${what} failed: ${said}`, { details: { program }, cause });
  }
}
