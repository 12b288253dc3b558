/**
 * Tries whether a key can be used at all, when there is nothing to compare with. A key that an unwrap left half made
 * shows its class and, at times, its names, but serves no use (facts: pkcs11, 7). The doubt is always for the key.
 */
import { CANNOT_EXERCISE, CryptokiFailure, FORBIDS_USE, LACKS_MECHANISM } from '@antipode/cryptoki';
import { kindOfObject } from '../../key-kinds/kinds.ts';
import type { ObservedObject } from '../../model/object.ts';
import type { Challenge } from '../../provider/provider.ts';
import { isSoftwareRefusal } from '../reading/software-refusal.ts';
import type { ProveContext } from './proof.ts';
import type { Use } from './use.ts';

export function challenge(context: ProveContext, handle: bigint): Challenge {
  const object = context.objects.read(handle);
  if (object === undefined || object.attributes.alwaysAuthenticate === true) return 'untried';
  const { allowedMechanisms: allowed } = object.attributes;
  let answer: Challenge = 'untried';
  for (const use of usesOf(context, object)) {
    if (!use.flag || (use.type !== undefined && allowed?.length && !allowed.includes(use.type))) continue;
    const refusal = refusalOf(() => use.work(handle));
    if (refusal === undefined) return 'works';
    if (isOfKey(context, object, use, refusal)) answer = 'refuses';
  }
  return answer;
}

function usesOf(context: ProveContext, object: ObservedObject): Use[] {
  const { cryptoki, session, keyWrap, domainKey } = context;
  const { extractable, wrapWithTrusted } = object.attributes;
  const wrapping: Use = {
    flag: extractable === true && wrapWithTrusted !== true,
    work: (key) => cryptoki.wrapKey(session, keyWrap, domainKey, key),
  };
  return [wrapping, ...(kindOfObject(object)?.uses(context, object) ?? [])];
}

/** A token may refuse a use to any key of the kind: then it says nothing of this one. */
function isOfKey(context: ProveContext, object: ObservedObject, { work }: Use, refusal: string): boolean {
  if (refusal === FORBIDS_USE) return false;
  if (!CANNOT_EXERCISE.has(refusal)) return true;
  const sound = refusal === LACKS_MECHANISM ? kindOfObject(object)?.sample?.(context) : undefined;
  if (sound === undefined) return false;
  try {
    return refusalOf(() => work(sound)) === undefined;
  } finally {
    context.cryptoki.destroy(context.session, sound);
  }
}

function refusalOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return thrown.returnValue;
    // A refusal by software says nothing about the key.
    if (isSoftwareRefusal(thrown)) return 'CKR_MECHANISM_PARAM_INVALID';
    throw thrown;
  }
}
