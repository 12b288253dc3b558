/**
 * Asks a token for a key as its users do: by id through pkcs11-tool, by label through OpenSSL's engine. OpenSSL verifies
 * what they sign, with a public key of which the judge keeps its own copy.
 */
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Desk, EngineUser } from '../../support/token-users.ts';
import type { TestToken } from '../../support/tokens.ts';

export type Way = 'label' | 'id';
/** SubjectPublicKeyInfo in hexadecimal, or nothing under that name. */
export type Value = string;
export const ABSENT: Value = 'absent';
export const UNKNOWN: Value = 'unknown';

export class TokenJudge {
  readonly #token: TestToken;
  readonly #desk: Desk;
  readonly #engine: EngineUser;

  constructor(token: TestToken) {
    this.#token = token;
    const folder = `${token.folder}/judge`;
    mkdirSync(folder);
    this.#desk = new Desk(folder);
    this.#engine = new EngineUser(this.#desk, token);
  }

  /** The public key that lies under this id. */
  async publicKey(id: string): Promise<Value> {
    const file = this.#desk.at('public.der');
    writeFileSync(file, '');
    await this.#token.toolAsync('--read-object', '--type', 'pubkey', '--id', id, '--output-file', file).catch(() => '');
    return readFileSync(file).toString('hex') || ABSENT;
  }

  /**
   * Which of `candidates` signed when the key of this name was asked to; ABSENT where no key answered, and UNKNOWN for a
   * signature of none of them.
   */
  async answers(
    way: Way,
    { id, label, candidates }: { id: string; label: string; candidates: readonly Value[] },
  ): Promise<Value> {
    const message = randomBytes(32);
    const digest = this.#desk.at('digest');
    const signature = this.#desk.at('signature');
    writeFileSync(digest, createHash('sha256').update(message).digest());
    writeFileSync(signature, '');
    const files = (input: string, output: string) => [input, digest, output, signature];
    try {
      if (way === 'id') {
        const how = ['--sign', '--mechanism', 'ECDSA', '--signature-format', 'openssl', '--id', id];
        await this.#token.toolAsync(...how, ...files('--input-file', '--output-file'));
      } else {
        this.#engine.openssl('pkeyutl', '-sign', '-inkey', this.#engine.keyByLabel(label), ...files('-in', '-out'));
      }
    } catch {
      // No such key, or it does not sign. Neither counts as an answer.
    }
    const bytes = readFileSync(signature);
    if (bytes.length === 0) return ABSENT;
    return candidates.find((candidate) => hasSigned(candidate, message, bytes)) ?? UNKNOWN;
  }
}

function hasSigned(candidate: Value, message: Uint8Array, signature: Uint8Array): boolean {
  if (candidate === ABSENT) return false;
  const key = createPublicKey({ key: Buffer.from(candidate, 'hex'), format: 'der', type: 'spki' });
  return verify('sha256', message, key, signature);
}
