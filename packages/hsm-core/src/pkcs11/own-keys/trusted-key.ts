/**
 * The trusted key of a domain key version, and how it comes into a token (ADR 0021). It alone wraps keys with
 * CKA_WRAP_WITH_TRUSTED. It is delivered under the partition's officer key (officer-key.ts).
 *
 * A key that the officer makes is visible without a login (PKCS#11 gives him no private objects). So he makes a session
 * object, and the user copies it into the token as a private one: both in one process, which ends afterwards.
 */
import {
  CKA,
  CKK,
  CKM,
  CKO,
  CKU_SO,
  CryptokiFailure,
  codeOf,
  mechanism,
  rsaOaep,
  SessionFailure,
  type Template,
  translate,
} from '@antipode/cryptoki';
import { AntipodeError, readPinFile } from '@antipode/runtime';
import type { TrustedDelivery } from '../../provider/provider.ts';
import { LoginGuard } from '../session/login-guard.ts';
import { ownersOf, type PartitionConfig } from '../session/session.ts';
import type { TokenSession, WrappingSession } from '../token-session.ts';
import { findOfficerKeys } from './officer-key.ts';
import { trustedKeyPolicy } from './policy.ts';
import { findBreaches } from './protections.ts';
import { withLocked } from './swap.ts';

/**
 * A key that it unwraps stays as well protected as one that it wraps: else it would be a way around
 * CKA_WRAP_WITH_TRUSTED.
 */
const UNWRAPS: Template = [
  [CKA.SENSITIVE, true],
  [CKA.WRAP_WITH_TRUSTED, true],
];

/** Whether the token says of a key that its officer trusts it. */
export const isTrusted = ({ cryptoki, session }: TokenSession, key: bigint): boolean =>
  cryptoki.attributes(session, key, [CKA.TRUSTED])?.get(CKA.TRUSTED)?.[0] === 1;

/**
 * Brings trusted keys into the token: the officer unwraps each as a session object, the user takes it over. Nobody is
 * logged in afterwards but the user; handles from before are void. One attempt for the officer's PIN (ADR 0006).
 * @throws PIN_REFUSED, PIN_LOCKED, HSM_REFUSED, PROTECTION_UNENFORCED; what was made and does not hold is destroyed
 */
export function trustAsOfficer(
  context: WrappingSession,
  options: {
    readonly officerKey: { readonly ckaId: Uint8Array; readonly identity: Uint8Array };
    readonly officerPinFile: string;
    readonly deliveries: readonly TrustedDelivery[];
    readonly serial: string;
    readonly flags: () => number;
    readonly config: PartitionConfig;
    readonly loginUser: () => void;
  },
): bigint[] {
  const { cryptoki, session } = context;
  const { deliveries, loginUser } = options;
  cryptoki.call('C_Logout', session);
  let drafts: bigint[];
  try {
    loginOfficer(context, options);
    try {
      drafts = deliveries.map(({ sealed }) => unwrapAsOfficer(context, sealed, options.officerKey));
    } finally {
      cryptoki.tryCall('C_Logout', session);
    }
  } finally {
    loginUser();
  }
  const made: bigint[] = [];
  try {
    for (const [index, { ckaId, label }] of deliveries.entries()) {
      const key = cryptoki.copy(session, drafts[index]!, [
        [CKA.TOKEN, true],
        [CKA.PRIVATE, true],
        [CKA.LABEL, Buffer.from(label)],
        [CKA.ID, ckaId],
        [CKA.MODIFIABLE, false],
      ]);
      made.push(key);
      checkKept(context, key);
    }
    return made;
  } catch (thrown) {
    for (const handle of made) cryptoki.tryCall('C_DestroyObject', session, handle);
    throw thrown;
  } finally {
    for (const handle of drafts) cryptoki.tryCall('C_DestroyObject', session, handle);
  }
}

/** Tries everything that others rely on before anybody does. */
function checkKept(context: WrappingSession, key: bigint): void {
  const { cryptoki, session, keyWrap } = context;
  const read = cryptoki.attributes(session, key, [CKA.TRUSTED, CKA.PRIVATE]);
  const missing: string[] = [];
  if (read?.get(CKA.TRUSTED)?.[0] !== 1) missing.push('trusted');
  if (read?.get(CKA.PRIVATE)?.[0] !== 1) missing.push('private');
  missing.push(...findBreaches(context, { key, kind: 'secret', unenforced: [] }));
  if (unwrapsUnguarded(context, key)) missing.push('unwrap-template');
  if (missing.length === 0) return;
  throw new AntipodeError(
    'PROTECTION_UNENFORCED',
    `the trusted key that was just made lacks these protections: ${[...new Set(missing)].join(', ')}; it has been destroyed`,
    { details: { unenforced: missing.join(','), mechanism: keyWrap.type } },
  );
}

/** Whether what it wraps can be unwrapped as a key that any other may wrap. */
function unwrapsUnguarded({ cryptoki, session, keyWrap }: WrappingSession, key: bigint): boolean {
  const made: bigint[] = [];
  try {
    const throwAway = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.EXTRACTABLE, true],
    ]);
    made.push(throwAway);
    const blob = cryptoki.wrapKey(session, keyWrap, key, throwAway);
    for (const guard of [[], [[CKA.WRAP_WITH_TRUSTED, false]]] as Template[]) {
      try {
        const template: Template = [
          [CKA.CLASS, CKO.SECRET_KEY],
          [CKA.KEY_TYPE, CKK.AES],
          [CKA.TOKEN, false],
          [CKA.SENSITIVE, true],
          [CKA.EXTRACTABLE, true],
          ...guard,
        ];
        const unwrapped = cryptoki.unwrapKey(session, keyWrap, key, blob, template);
        made.push(unwrapped);
        // A token that merges the template has added what was left out.
        const shown = cryptoki.attributes(session, unwrapped, [CKA.WRAP_WITH_TRUSTED])?.get(CKA.WRAP_WITH_TRUSTED);
        if (shown?.[0] !== 1) return true;
      } catch (thrown) {
        if (!(thrown instanceof CryptokiFailure)) throw thrown;
      }
    }
    return false;
  } finally {
    for (const handle of made) cryptoki.tryCall('C_DestroyObject', session, handle);
  }
}

function unwrapAsOfficer(
  { cryptoki, session, keyWrap }: WrappingSession,
  sealed: Uint8Array,
  officerKey: { ckaId: Uint8Array; identity: Uint8Array },
): bigint {
  const template: Template = [
    [CKA.TOKEN, false],
    [CKA.PRIVATE, false],
    ...trustedKeyPolicy(keyWrap),
    [CKA.UNWRAP_TEMPLATE, UNWRAPS],
  ];
  let refused: unknown;
  for (const { handle } of findOfficerKeys({ cryptoki, session }, officerKey)) {
    try {
      return cryptoki.unwrapKey(session, rsaOaep(), handle, sealed, template);
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      refused = thrown;
    }
  }
  if (refused !== undefined) throw translate(refused);
  throw new AntipodeError('IDENTITY_MISSING', 'the officer key that the identity names is not in the token', {
    hint: 'Find out who can load the module: even a session without a login can remove the key. Then make another identity with `antipode partition init <partition> --replace-lost-identity`, and trust it at every site.',
  });
}

function loginOfficer(
  { cryptoki, session }: WrappingSession,
  {
    officerPinFile,
    serial,
    flags,
    config: { stateFolder },
  }: { officerPinFile: string; serial: string; flags: () => number; config: PartitionConfig },
): void {
  const pin = readPinFile(officerPinFile, { owners: ownersOf(stateFolder) });
  const guard = new LoginGuard({ stateFolder, serial, whose: 'security officer' });
  withLocked(pin, (bytes) => {
    guard.begin(pin, flags());
    try {
      cryptoki.login(session, bytes, CKU_SO);
    } catch (thrown) {
      if (thrown instanceof SessionFailure && ['PIN_REFUSED', 'PIN_LOCKED'].includes(codeOf(thrown.returnValue))) {
        guard.refused(pin);
        const { code, details } = translate(thrown);
        throw new AntipodeError(code, 'the token refused the PIN of the security officer. It is not tried again', {
          details,
          hint: 'Write the right PIN of the security officer, not that of the user, into the file that --officer-pin-file names. Each wrong attempt counts, and after a few the token is locked for good.',
          cause: thrown,
        });
      }
      throw translate(thrown);
    }
    guard.succeeded(pin);
  });
}
