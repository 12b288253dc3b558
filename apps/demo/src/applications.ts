/** The applications of a site, with their token. They use pkcs11-tool and openssl, not our code. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DemoToken, openssl } from './token.ts';

type Tool = Pick<DemoToken, 'tool'>;

/** The CKA_ID of the EC key that signs before the loss of its site and after it. */
const SIGNING_KEY = '02';
const SECRET = ['--sensitive', '--extractable'] as const;

function makePair({ tool }: Tool, type: string, id: string, label: string, ...rest: string[]): void {
  tool('--keypairgen', '--key-type', type, '--id', id, '--label', label, '--usage-sign', ...rest);
}

function makeSecret({ tool }: Tool, type: string, id: string, label: string): void {
  tool('--keygen', '--key-type', type, '--id', id, '--label', label, ...SECRET);
}

/** One of every usual kind, and one that must not leave its token. `folder` gets the key of a certificate. */
export function makeKeys(token: Tool, folder: string): void {
  makePair(token, 'rsa:2048', '01', 'card signing', '--usage-decrypt', '--extractable');
  makePair(token, 'EC:prime256v1', SIGNING_KEY, 'root of trust', '--extractable');
  makeSecret(token, 'aes:32', '03', 'zone master');
  makeSecret(token, 'GENERIC:32', '04', 'audit mac');
  const [key, certificate] = [join(folder, 'demo.key'), join(folder, 'demo.der')];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=demo', '-days', '30'];
  openssl('req', '-x509', ...made, '-keyout', key, '-out', certificate, '-outform', 'DER');
  token.tool('--write-object', certificate, '--type', 'cert', '--id', '05', '--label', 'demo certificate');
  makePair(token, 'rsa:2048', '06', 'made to stay');
}

export const makeOneMoreKey = (token: Tool): void => makeSecret(token, 'aes:32', '0a', 'one more');

export const makeKeyAtB = (token: Tool): void => makePair(token, 'EC:prime256v1', '0b', 'made at b', '--extractable');

export function exportSigningKey({ tool }: Tool, file: string): void {
  writeFileSync(file, tool('--read-object', '--type', 'pubkey', '--id', SIGNING_KEY));
}

/** Signs a message in the token, and asks openssl, with the public key in a file. @returns what openssl says */
export function signAndVerify(
  { tool }: Tool,
  { folder, publicKeyFile }: { folder: string; publicKeyFile: string },
): string {
  const fileOf = (name: string): string => join(folder, name);
  const [message, digest, signature, pem] = ['message', 'digest', 'signature', 'public.pem'].map(fileOf) as [
    string,
    string,
    string,
    string,
  ];
  writeFileSync(message, 'pay 100 to bob\n');
  openssl('dgst', '-sha256', '-binary', '-out', digest, message);
  const files = ['--input-file', digest, '--output-file', signature];
  tool('--sign', '--id', SIGNING_KEY, '--mechanism', 'ECDSA', '--signature-format', 'openssl', ...files);
  openssl('pkey', '-pubin', '-inform', 'DER', '-in', publicKeyFile, '-out', pem);
  return openssl('dgst', '-sha256', '-verify', pem, '-signature', signature, message).toString().trim();
}
