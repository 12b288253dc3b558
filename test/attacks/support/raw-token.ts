/**
 * A token in the hands of whoever holds its PIN: raw PKCS#11 calls, with none of our code between. In a process of its
 * own, since a module is initialised once per process and the attacker shares no session with the agent.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Mechanism, Template } from '@antipode/cryptoki';
import { type AnyToken, USER_PIN } from '../../support/tokens.ts';

/**
 * Derivation from a point (ECDH1_DERIVE without a derivation function), from data (AES_ECB_ENCRYPT_DATA), or from a
 * public value (DH_PKCS_DERIVE).
 */
export type Derivation = { readonly type: number } & (
  | { readonly point: Uint8Array }
  | { readonly data: Uint8Array }
  | { readonly publicValue: Uint8Array }
);

/** The possible calls. Each returns the value of the token, and rejects with {@link Refusal} if the token refuses. */
export interface RawCalls {
  find(template: Template): Promise<bigint[]>;
  attributes(object: bigint, types: readonly number[]): Promise<Map<number, Uint8Array>>;
  create(template: Template): Promise<bigint>;
  destroy(object: bigint): Promise<boolean>;
  generateKey(mechanism: Mechanism, template: Template): Promise<bigint>;
  generateKeyPair(
    mechanism: Mechanism,
    publicTemplate: Template,
    privateTemplate: Template,
  ): Promise<{ publicKey: bigint; privateKey: bigint }>;
  wrapKey(mechanism: Mechanism, wrappingKey: bigint, key: bigint): Promise<Uint8Array>;
  unwrapKey(mechanism: Mechanism, unwrappingKey: bigint, blob: Uint8Array, template: Template): Promise<bigint>;
  deriveKey(derivation: Derivation, baseKey: bigint, template: Template): Promise<bigint>;
  sign(mechanism: Mechanism, key: bigint, data: Uint8Array): Promise<Uint8Array>;
  encrypt(mechanism: Mechanism, key: bigint, data: Uint8Array): Promise<Uint8Array>;
  decrypt(mechanism: Mechanism, key: bigint, data: Uint8Array): Promise<Uint8Array>;
  copyObject(object: bigint, template: Template): Promise<bigint>;
  setAttributeValue(object: bigint, template: Template): Promise<void>;
}

export interface ToChild {
  readonly id: number;
  readonly name: keyof RawCalls;
  readonly args: readonly unknown[];
}

export type FromChild = { readonly id: number } & (
  | { readonly value: unknown }
  | { readonly refusal: string }
  | { readonly failure: string }
);

/** The token said no; `returnValue` is the CKR_ name. */
export class Refusal extends Error {
  readonly returnValue: string;

  constructor(call: string, returnValue: string) {
    super(`${call} returned ${returnValue}`);
    this.returnValue = returnValue;
  }
}

export interface RawToken extends RawCalls {
  close(): Promise<void>;
}

const NAMES = [
  'find',
  'attributes',
  'create',
  'destroy',
  'generateKey',
  'generateKeyPair',
  'wrapKey',
  'unwrapKey',
  'deriveKey',
  'sign',
  'encrypt',
  'decrypt',
  'copyObject',
  'setAttributeValue',
] as const satisfies readonly (keyof RawCalls)[];

/** Logs in to a token as an application with the PIN does. */
export async function openRawToken(
  { config, label }: Pick<AnyToken, 'config' | 'label'>,
  pin = USER_PIN,
): Promise<RawToken> {
  const script = fileURLToPath(new URL('./raw-token-child.ts', import.meta.url));
  const child = fork(script, [config.module, label, pin, config.moduleParameters ?? ''], {
    serialization: 'advanced',
    execArgv: [],
    env: { PATH: process.env['PATH'] ?? '', ...config.environment },
  });
  const waiting = new Map<number, { name: string; resolve: (value: unknown) => void; reject: (why: Error) => void }>();
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      for (const { name, reject } of waiting.values()) reject(new Error(`the process ended in ${name}`));
      waiting.clear();
      resolve();
    });
  });
  child.on('message', (message: FromChild) => {
    const call = waiting.get(message.id);
    waiting.delete(message.id);
    if ('value' in message) call?.resolve(message.value);
    else if ('refusal' in message) call?.reject(new Refusal(call.name, message.refusal));
    else call?.reject(new Error(message.failure));
  });
  const expectAnswer = (id: number, name: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      waiting.set(id, { name, resolve, reject });
    });
  await expectAnswer(0, 'login');
  return {
    ...callsTo(child, expectAnswer),
    close: () => {
      child.disconnect();
      return ended;
    },
  };
}

function callsTo(child: ChildProcess, expectAnswer: (id: number, name: string) => Promise<unknown>): RawCalls {
  let lastId = 0;
  const calls: Partial<RawCalls> = {};
  for (const name of NAMES)
    Reflect.set(calls, name, (...args: unknown[]): Promise<unknown> => {
      lastId += 1;
      const answer = expectAnswer(lastId, name);
      child.send({ id: lastId, name, args } satisfies ToChild);
      return answer;
    });
  return calls as RawCalls;
}

/** The CKR_ name of a call that must be refused; `CKR_OK` where it is not. */
export async function refusalOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'CKR_OK';
  } catch (thrown) {
    if (thrown instanceof Refusal) return thrown.returnValue;
    throw thrown;
  }
}
