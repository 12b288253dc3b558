/** Objects that a token does not take: which of its answers concern one object only, and the error of each. */
import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import type { ObjectId } from '../model/object.ts';
import type { Refusal } from '../provider/provider.ts';

/** Errors that concern the one object that the token has answered them for. */
export const OWN_FAULTS: ReadonlySet<ErrorCode> = new Set([
  'HSM_REFUSED',
  'BLOB_INVALID',
  'ID_TAKEN',
  'DOMAIN_KEY_UNTRUSTED',
  'SECRET_INEXACT',
  'NATIVE_UNAVAILABLE',
  'CLONING_DOMAIN_OTHER',
  'NATIVE_MISMATCH',
  'NATIVE_SOURCE_UNREACHED',
  'NATIVE_CLONING',
  'NATIVE_NOT_CLONED',
]);

const WHY: Partial<Record<ErrorCode, string>> = {
  ID_TAKEN: 'another key has its CKA_ID',
  NATIVE_UNAVAILABLE: 'this partition has no cloner for it',
  NATIVE_SOURCE_UNREACHED: 'this client reaches no partition that has it',
  NATIVE_CLONING: 'its devices have not copied it yet',
  NATIVE_NOT_CLONED: 'no device has copied it',
  CLONING_DOMAIN_OTHER: 'it comes from another cloning domain',
  NATIVE_MISMATCH: 'its device makes another object than the manifest says',
  SECRET_INEXACT: 'this token does not carry secrets byte for byte',
  DOMAIN_KEY_UNTRUSTED: 'the security officer of this partition has not trusted the domain key',
};

export function refusalOf(objectId: ObjectId, { code, returnValue }: Refusal): AntipodeError {
  const answer =
    returnValue === undefined ? 'the token grants more than the manifest allows' : `the HSM answered ${returnValue}`;
  const why = WHY[code] ?? answer;
  return new AntipodeError(code, `object ${objectId} could not be restored: ${why}`, {
    details: { objectId, ...(returnValue === undefined ? {} : { returnValue }) },
  });
}

export const unprovenError = (objectId: ObjectId): AntipodeError =>
  new AntipodeError('OBJECT_UNPROVEN', `object ${objectId} does not work after its restore`, {
    details: { objectId },
  });
