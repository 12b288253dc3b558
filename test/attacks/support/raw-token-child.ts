/**
 * The process behind a {@link RawToken}: logs in with the PIN, and then makes whatever PKCS#11 call it is told to. Two
 * functions that our binding does not have, because we never call them, are bound here.
 */
import koffi from 'koffi';
import { CKD_NULL, CKF_TOKEN_INITIALIZED } from '../../../packages/hsm-core/src/pkcs11/constants.ts';
import { Cryptoki, structure, type Template, ulong } from '../../../packages/hsm-core/src/pkcs11/cryptoki.ts';
import { CryptokiFailure } from '../../../packages/hsm-core/src/pkcs11/return-values.ts';
import type { FromChild, RawCalls, ToChild } from './raw-token.ts';

/** Index in CK_FUNCTION_LIST (pkcs11f.h order). */
const [COPY_OBJECT, SET_ATTRIBUTE_VALUE] = [21, 25];
const ATTRIBUTE_SIZE = 24;

type Calls = { [Name in keyof RawCalls]: (...args: Parameters<RawCalls[Name]>) => Awaited<ReturnType<RawCalls[Name]>> };

const [module, label, pin] = process.argv.slice(2) as [string, string, string];
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

function logIn(): Calls {
  const cryptoki = Cryptoki.load(module);
  const slot = cryptoki.slots().find((one) => {
    const token = cryptoki.tokenInfo(one);
    return (token.flags & CKF_TOKEN_INITIALIZED) !== 0 && token.label === label;
  });
  if (slot === undefined) throw new Error(`no token ${label}`);
  const session = cryptoki.openSession(slot);
  cryptoki.login(session, Buffer.from(pin));
  const library = koffi.load(module, { deep: true });
  const list = Buffer.alloc(8);
  library.func('C_GetFunctionList', 'ulong', ['void *'])(list);
  const bind = (index: number, parameters: string[]) => {
    const pointer = koffi.decode(list.readBigUInt64LE() + BigInt(8 + index * 8), 'void *') as bigint;
    return koffi.decode(pointer, koffi.proto('ulong', parameters)) as (...args: unknown[]) => number | bigint;
  };
  const copy = bind(COPY_OBJECT, ['ulong', 'ulong', 'void *', 'ulong', 'void *']);
  const set = bind(SET_ATTRIBUTE_VALUE, ['ulong', 'ulong', 'void *', 'ulong']);
  const check = (call: string, returned: number | bigint): void => {
    if (Number(returned) !== 0) throw new CryptokiFailure(call, Number(returned));
  };
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
      cryptoki.deriveKey(
        session,
        'point' in derivation
          ? structure(derivation.type, [CKD_NULL, 0, 0, derivation.point.length, { pointer: derivation.point }])
          : structure(derivation.type, [{ pointer: derivation.data }, derivation.data.length]),
        baseKey,
        template,
      ),
    sign: (mechanism, key, data) => cryptoki.sign(session, mechanism, key, data),
    encrypt: (mechanism, key, data) => cryptoki.encrypt(session, mechanism, key, data),
    decrypt: (mechanism, key, data) => cryptoki.decrypt(session, mechanism, key, data),
    copyObject: (object, template) => {
      const { bytes, keep } = packed(template);
      const handle = ulong(0n);
      check('C_CopyObject', copy(session, object, bytes, template.length, handle));
      keep.length = 0;
      return handle.readBigUInt64LE();
    },
    setAttributeValue: (object, template) => {
      const { bytes, keep } = packed(template);
      check('C_SetAttributeValue', set(session, object, bytes, template.length));
      keep.length = 0;
    },
  };
}

/** CK_ATTRIBUTE[]: type, address and length of the value. `keep` holds the values until the call has returned. */
function packed(template: Template): { bytes: Buffer; keep: Uint8Array[] } {
  const bytes = Buffer.alloc(ATTRIBUTE_SIZE * template.length);
  const keep: Uint8Array[] = [];
  template.forEach(([type, value], index) => {
    const nested = Array.isArray(value) ? packed(value as Template) : undefined;
    const content =
      nested?.bytes ??
      (typeof value === 'boolean'
        ? Uint8Array.of(value ? 1 : 0)
        : typeof value === 'number'
          ? ulong(value)
          : (value as Uint8Array));
    keep.push(content, ...(nested?.keep ?? []));
    const words = [BigInt(type), content.length === 0 ? 0n : BigInt(koffi.address(content)), BigInt(content.length)];
    words.forEach((word, at) => {
      bytes.writeBigUInt64LE(word, index * ATTRIBUTE_SIZE + at * 8);
    });
  });
  return { bytes, keep };
}
