/** The private key of an operator: in a PKCS#8 file, or in a token that only its operator has. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { useOperatorToken } from '@antipode/hsm-core';
import {
  isOperatorKey,
  isSignedByOperator,
  operatorKeyFingerprint,
  operatorKeyFrom,
  signAsOperator,
} from '@antipode/protocol';
import { AntipodeError, readPinFile } from '@antipode/runtime';
import { isKeyUri, parseKeyUri } from './key-uri.ts';

export interface OpenOperatorKey {
  /** Undefined where the token does not show it. */
  readonly publicKey: KeyObject | undefined;
  sign(bytes: Uint8Array): Uint8Array;
}

export interface KeyOptions {
  /** File, or PKCS#11 URI. */
  readonly key: string;
  /** Of the token's PIN, or of the passphrase of an encrypted file. */
  readonly pinFile?: string | undefined;
}

/** @throws FILE_UNWRITABLE, USAGE, APPROVAL_INVALID, and what opening a token throws */
export async function useOperatorKey<T>({ key, pinFile }: KeyOptions, work: (open: OpenOperatorKey) => T): Promise<T> {
  if (!isKeyUri(key)) return work(openFile(key, pinFile));
  if (pinFile === undefined)
    throw new AntipodeError('USAGE', 'a key in a token needs --pin-file', { details: { field: 'pin-file' } });
  return useOperatorToken({ ...parseKeyUri(key), pinFile, stateFolder: stateFolder() }, ({ publicKey, sign }) =>
    work({
      publicKey: publicKey && operatorKeyFrom(Buffer.from(publicKey).toString('base64')),
      sign,
    }),
  );
}

/** Signs, and checks the signature where the public half is known. @throws HSM_REFUSED, and as {@link useOperatorKey} */
export const signWith = (options: KeyOptions, bytes: Uint8Array): Promise<Uint8Array> =>
  useOperatorKey(options, ({ publicKey: key, sign }) => {
    const made = sign(bytes);
    if (key !== undefined && !isSignedByOperator({ key }, { bytes, signature: made }))
      throw new AntipodeError('HSM_REFUSED', 'the token gave a signature that its own public key does not verify', {
        details: { key: operatorKeyFingerprint(key) },
      });
    return made;
  });

/** A PIN that a token has refused is not tried again, in whatever command. */
const stateFolder = (): string =>
  join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'antipode', 'login');

function openFile(path: string, pinFile: string | undefined): OpenOperatorKey {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new AntipodeError('FILE_UNWRITABLE', `there is no key file ${path}`, { details: { path } });
  if ((stat.mode & 0o077) !== 0)
    throw new AntipodeError(
      'FILE_UNWRITABLE',
      `${path} has mode ${(stat.mode & 0o777).toString(8)}, expected 600 or 400`,
      {
        details: { path },
        hint: `Run \`chmod 600 ${path}\`. If other users could have read the key, make a new one and have every site trust that.`,
      },
    );
  const passphrase = pinFile === undefined ? undefined : readPinFile(pinFile);
  try {
    const read = (secret?: Buffer): KeyObject =>
      createPrivateKey({ key: readFileSync(path), ...(secret === undefined ? {} : { passphrase: secret }) });
    const privateKey = passphrase === undefined ? read() : passphrase.expose(read);
    if (!isOperatorKey(privateKey)) throw notAKey(path);
    return { publicKey: createPublicKey(privateKey), sign: (bytes) => signAsOperator(privateKey, bytes) };
  } catch (thrown) {
    if (thrown instanceof AntipodeError) throw thrown;
    throw notAKey(path);
  } finally {
    passphrase?.wipe();
  }
}

/** Without its cause, which could quote the file. */
const notAKey = (path: string): AntipodeError =>
  new AntipodeError('APPROVAL_INVALID', `${path} is not a private key of Ed25519 or P-256 in PKCS#8`, {
    details: { path },
    hint: 'Make one with `openssl genpkey -algorithm ed25519`. Give the passphrase of an encrypted file with --pin-file.',
  });
