/** The process behind a {@link RawToken}: logs in with the PIN, and then makes the PKCS#11 calls that it receives. */
import {
  CKD,
  CKF_TOKEN_INITIALIZED,
  CryptokiFailure,
  loadCryptoki,
  type Mechanism,
  mechanism,
  structure,
} from '@antipode/cryptoki';
import type { Derivation, FromChild, RawCalls, ToChild } from './raw-token.ts';

type Calls = { [Name in keyof RawCalls]: (...args: Parameters<RawCalls[Name]>) => Awaited<ReturnType<RawCalls[Name]>> };

const [module, label, pin, parameters] = process.argv.slice(2) as [string, string, string, string];
const calls = logIn();

process.on('message', ({ id, name, args }: ToChild) => {
  process.send?.({ id, ...outcomeOf(() => (calls[name] as (...all: unknown[]) => unknown)(...args)) } as FromChild);
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0, value: undefined } satisfies FromChild);

function outcomeOf(work: () => unknown): { value: unknown } | { refusal: string } | { failure: string } {
  try {
    return { value: work() };
  } catch (thrown) {
    return thrown instanceof CryptokiFailure ? { refusal: thrown.returnValue } : { failure: String(thrown) };
  }
}

function mechanismOf(derivation: Derivation): Mechanism {
  if ('publicValue' in derivation) return mechanism(derivation.type, derivation.publicValue);
  return 'point' in derivation
    ? structure(derivation.type, [CKD.NULL, 0, 0, derivation.point.length, { pointer: derivation.point }])
    : structure(derivation.type, [{ pointer: derivation.data }, derivation.data.length]);
}

function logIn(): Calls {
  const cryptoki = loadCryptoki(module, parameters || undefined);
  const slot = cryptoki.slots().find((one) => {
    const token = cryptoki.tokenInfo(one);
    return (token.flags & CKF_TOKEN_INITIALIZED) !== 0 && token.label === label;
  });
  if (slot === undefined) throw new Error(`no token ${label}`);
  const session = cryptoki.openSession(slot);
  cryptoki.login(session, Buffer.from(pin));
  return {
    find: (template) => cryptoki.find(session, template),
    attributes: (object, types) => new Map(cryptoki.attributes(session, object, types) ?? []),
    create: (template) => cryptoki.create(session, template),
    destroy: (object) => cryptoki.destroy(session, object),
    generateKey: (mechanism, template) => cryptoki.generateKey(session, mechanism, template),
    generateKeyPair: (mechanism, publicTemplate, privateTemplate) =>
      cryptoki.generateKeyPair(session, mechanism, publicTemplate, privateTemplate),
    wrapKey: (mechanism, wrappingKey, key) => cryptoki.wrapKey(session, mechanism, wrappingKey, key),
    unwrapKey: (mechanism, unwrappingKey, blob, template) =>
      cryptoki.unwrapKey(session, mechanism, unwrappingKey, blob, template),
    // A pointer means nothing in another process: it is bytes that come, and their address is put in here.
    deriveKey: (derivation, baseKey, template) =>
      cryptoki.deriveKey(session, mechanismOf(derivation), baseKey, template),
    sign: (mechanism, key, data) => cryptoki.sign(session, mechanism, key, data),
    encrypt: (mechanism, key, data) => cryptoki.encrypt(session, mechanism, key, data),
    decrypt: (mechanism, key, data) => cryptoki.decrypt(session, mechanism, key, data),
    copyObject: (object, template) => cryptoki.copy(session, object, template),
    setAttributeValue: (object, template) => cryptoki.setAttributes(session, object, template),
  };
}
