/** Tries a key of our own as soon as it lies in the token, before anybody relies on it. */
import { AntipodeError } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import type { Protection } from '../../provider/provider.ts';
import type { WrappingSession } from '../token-session.ts';
import { findBreaches } from './protections.ts';

/** Destroys a key that keeps less than the site has accepted. @throws PROTECTION_UNENFORCED */
export function checkKept(
  context: WrappingSession,
  options: {
    readonly key: Handle;
    readonly kind: 'secret' | 'private';
    readonly name: string;
    readonly unenforced: readonly Protection[];
  },
): void {
  const { key, name } = options;
  const missing = findBreaches(context, options);
  if (missing.length === 0) return;
  context.cryptoki.destroy(context.session, key);
  throw new AntipodeError(
    'PROTECTION_UNENFORCED',
    `the ${name} that was just made lacks these protections: ${missing.join(', ')}; it has been destroyed`,
    { details: { unenforced: missing.join(',') } },
  );
}
