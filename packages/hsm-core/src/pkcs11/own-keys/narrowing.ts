/**
 * Unwraps secret keys of our own no wider than their template says. A token may accept a template and keep little of it
 * (opencryptoki 3.27 ignores SENSITIVE and EXTRACTABLE in C_UnwrapKey). There a session key is narrowed first and
 * copied afterwards, so that at no time a wider key lies in the token, even if we are killed.
 */
import { CKA, CryptokiFailure, type Mechanism, type Template } from '@antipode/cryptoki';
import { ATTRIBUTES, USES } from '../../model/attributes.ts';
import type { TokenSession } from '../token-session.ts';

const numberOf = (name: keyof typeof ATTRIBUTES): number => ATTRIBUTES[name].type;

/** Attributes that protect when they are true; of all others in {@link widerThan}, false protects. */
const PROTECT_WHEN_TRUE: ReadonlySet<number> = new Set(
  (['private', 'sensitive', 'wrapWithTrusted', 'alwaysAuthenticate'] as const).map(numberOf),
);
const PROTECT_WHEN_FALSE: ReadonlySet<number> = new Set(
  (['extractable', 'modifiable', 'copyable', ...USES] as const).map(numberOf),
);
/** Attributes that forbid later changes. They come last. */
const FORBIDDING: ReadonlySet<number> = new Set((['modifiable', 'copyable'] as const).map(numberOf));

const protects = ([type, value]: Template[number]): boolean =>
  (value === true && PROTECT_WHEN_TRUE.has(type)) || (value === false && PROTECT_WHEN_FALSE.has(type));

/**
 * The entries of `template` that protect the object, and that it does not have. One that the token does not show counts
 * as kept.
 */
export function widerThan({ cryptoki, session }: TokenSession, object: bigint, template: Template): Template {
  const protecting = template.filter(protects);
  if (protecting.length === 0) return [];
  const types = protecting.map(([type]) => type);
  const has = cryptoki.attributes(session, object, types);
  return protecting.filter(([type, value]) => {
    const read = has?.get(type)?.[0];
    return read !== undefined && (read === 1) !== value;
  });
}

/** Of a template without CKA_TOKEN false: the key is made where the template says. */
export function unwrapNarrowed(
  context: TokenSession,
  { mechanism, under, blob }: { mechanism: Mechanism; under: bigint; blob: Uint8Array },
  template: Template,
): bigint {
  const { cryptoki, session } = context;
  const unwrap = (wanted: Template): bigint => cryptoki.unwrapKey(session, mechanism, under, blob, wanted);
  const forbidding = template.filter(([type]) => FORBIDDING.has(type));
  const lasting = template.filter(([type]) => !FORBIDDING.has(type));
  const draft = unwrap(lasting.map((entry) => (entry[0] === CKA.TOKEN ? [CKA.TOKEN, false] : entry)));
  try {
    const excess = widerThan(context, draft, lasting);
    if (excess.length === 0) return unwrap(template);
    cryptoki.setAttributes(session, draft, excess);
    const place = lasting.filter(([type]) => type === CKA.TOKEN);
    try {
      return cryptoki.copy(session, draft, [...place, ...forbidding]);
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      // SoftHSM refuses COPYABLE here. Whether a copy can then be wider is tried by whoever relies on it.
      return cryptoki.copy(session, draft, [...place, ...forbidding.filter(([type]) => type !== CKA.COPYABLE)]);
    }
  } finally {
    cryptoki.destroy(session, draft);
  }
}
