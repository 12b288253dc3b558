/**
 * Finds out by trying which protections of a key a token keeps: with throw-away keys, and once more on each key of our
 * own when it has been made. A protection that the token merely accepts counts as not kept: NSS softokn stores an
 * unwrap template as an opaque value and never looks at it, and wraps keys that are not extractable.
 */
import { CKA, CKM, CryptokiFailure, mechanism, type Template, ulong } from '@antipode/cryptoki';
import { PROTECTIONS, type Protection } from '../../provider/provider.ts';
import { Kept, showsAny, Trial, WAYS, type Way } from '../proving/trial.ts';
import type { TokenSession, WrappingSession } from '../token-session.ts';

/** The protections that this token does not keep, in the order of {@link PROTECTIONS}. */
export function findUnenforced(context: WrappingSession): Protection[] {
  return trying(context, (trial) => {
    const ways = WAYS.filter((way) => trial.makes(way));
    const pairBreaches = trial.makes('pair') ? PAIR_BREACHES : {};
    return PROTECTIONS.filter((protection) => {
      const pairBreach = pairBreaches[protection];
      return (
        waysOf(protection, ways).some((way) => trial.gets(() => BREACHES[protection](trial, way))) ||
        (pairBreach !== undefined && trial.gets(() => pairBreach(trial)))
      );
    });
  });
}

/**
 * The protections that a key in use was made with and does not keep. Nothing of the key leaves the token: where it can
 * be wrapped, that is under a throw-away key that is destroyed at once. The caller destroys the key where the answer is
 * not empty.
 */
export function findBreaches(
  context: WrappingSession,
  { key, kind, unenforced }: { key: bigint; kind: 'secret' | 'private'; unenforced: readonly Protection[] },
): Protection[] {
  return trying(context, (trial) => {
    const breaches = kind === 'secret' ? SECRET_KEY_BREACHES : PRIVATE_KEY_BREACHES;
    return PROTECTIONS.filter((protection) => {
      const breach = breaches[protection];
      // Trying what is known not to be kept would only make the key wider.
      if (breach === undefined || unenforced.includes(protection)) return false;
      return showsAny(context, key, WIDE[protection] ?? []) || trial.gets(() => breach(trial, key));
    });
  });
}

/** The protections that a secret key of ours shows that it does not have. Reads only. */
export function findShown({ cryptoki, session }: TokenSession, key: bigint): Protection[] {
  return PROTECTIONS.filter((protection) => showsAny({ cryptoki, session }, key, WIDE[protection] ?? []));
}

/**
 * Whether a key with CKA_WRAP_WITH_TRUSTED is wrapped by no key that the officer does not trust: as it is, after the
 * user has taken the attribute away, and as a copy without it. Tried with throw-away keys.
 */
export function keepsWrapWithTrusted({ cryptoki, session, keyWrap }: WrappingSession): boolean {
  const made: bigint[] = [];
  const keep = (handle: bigint): bigint => {
    made.push(handle);
    return handle;
  };
  const works = (work: () => void): boolean => {
    try {
      work();
      return true;
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return false;
      throw thrown;
    }
  };
  const generate = (...more: Template): bigint =>
    keep(
      cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
        [CKA.VALUE_LEN, 32],
        [CKA.TOKEN, false],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, true],
        ...more,
      ]),
    );
  try {
    const wrapping = generate([CKA.WRAP, true]);
    const ordinary = generate();
    const guarded = generate([CKA.WRAP_WITH_TRUSTED, true]);
    const wraps = (key: bigint): boolean => works(() => void cryptoki.wrapKey(session, keyWrap, wrapping, key));
    if (!wraps(ordinary) || wraps(guarded)) return false;
    const without: Template = [[CKA.WRAP_WITH_TRUSTED, false]];
    const copies = [[], without].some((changes) =>
      works(() => {
        const copy = keep(cryptoki.copy(session, guarded, [[CKA.TOKEN, false], ...changes]));
        if (!wraps(copy)) throw new CryptokiFailure('C_WrapKey', 'CKR_KEY_NOT_WRAPPABLE');
      }),
    );
    works(() => cryptoki.setAttributes(session, guarded, without));
    return !copies && !wraps(guarded);
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return false;
    throw thrown;
  } finally {
    for (const handle of made) cryptoki.tryCall('C_DestroyObject', session, handle);
  }
}

function trying<T>(context: WrappingSession, work: (trial: Trial) => T): T {
  const trial = new Trial(context);
  try {
    return work(trial);
  } finally {
    trial.end();
  }
}

/** Only unwrapped keys of ours have an unwrap template. */
const waysOf = (protection: Protection, ways: readonly Way[]): readonly Way[] =>
  protection === 'unwrap-template' ? ways.filter((way) => way === 'unwrap') : ways;

function unless(isBreached: boolean): void {
  if (!isBreached) throw new Kept();
}

/**
 * The act that each protection forbids, tried on a key that has it. Ends without an error where the token lets it
 * happen.
 */
const BREACHES: Record<Protection, (trial: Trial, way: Way) => void> = {
  sensitive: (trial, way) => {
    const key = trial.key([[CKA.SENSITIVE, true]], way);
    read(trial, key);
  },
  extractable: (trial, way) => {
    const key = trial.key([[CKA.EXTRACTABLE, false]], way);
    export_(trial, key);
  },
  decrypt: (trial, way) => trial.decrypt(trial.key([[CKA.DECRYPT, false]], way)),
  derive: (trial, way) => {
    // With nothing to derive by, there is nothing to forbid.
    unless(trial.gets(() => trial.derive(trial.key([[CKA.DERIVE, true]], way))));
    trial.derive(trial.key([[CKA.DERIVE, false]], way));
  },
  modifiable: (trial, way) => {
    const key = trial.key(
      [
        [CKA.DECRYPT, false],
        [CKA.MODIFIABLE, false],
      ],
      way,
    );
    trial.set(key, [[CKA.DECRYPT, true]]);
    trial.decrypt(key);
  },
  copyable: (trial, way) => {
    const key = trial.key(
      [
        [CKA.DECRYPT, false],
        [CKA.COPYABLE, false],
        [CKA.MODIFIABLE, false],
      ],
      way,
    );
    trial.decrypt(trial.copy(key, [[CKA.DECRYPT, true]]));
  },
  'allowed-mechanisms': (trial, way) =>
    trial.decrypt(
      trial.key(
        [
          [CKA.DECRYPT, true],
          [CKA.ALLOWED_MECHANISMS, ulong(trial.keyWrap.type)],
        ],
        way,
      ),
    ),
  'unwrap-template': (trial, way) => {
    const key = trial.key([[CKA.UNWRAP_TEMPLATE, [[CKA.SENSITIVE, true]]]], way);
    unless(trial.isReadable(trial.unwrapReadable(key)));
  },
};

/** The same for private keys, which are only generated. */
const PAIR_BREACHES: Partial<Record<Protection, (trial: Trial) => void>> = {
  sensitive: (trial) => {
    // A key that is not extractable is not readable either (PKCS#11 3.0, table 37).
    const key = pair(trial, [
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, true],
    ]);
    read(trial, key);
  },
  extractable: (trial) => export_(trial, pair(trial, [[CKA.EXTRACTABLE, false]])),
  derive: (trial) => trial.agree(trial.agreementKey([[CKA.DERIVE, false]])),
  modifiable: (trial) => {
    const key = pair(trial, [
      [CKA.EXTRACTABLE, false],
      [CKA.MODIFIABLE, false],
    ]);
    trial.set(key, [[CKA.EXTRACTABLE, true]]);
    trial.wrap(key);
  },
  copyable: (trial) => {
    const key = pair(trial, [
      [CKA.EXTRACTABLE, false],
      [CKA.COPYABLE, false],
      [CKA.MODIFIABLE, false],
    ]);
    trial.wrap(trial.copy(key, [[CKA.EXTRACTABLE, true]]));
  },
};

const pair = (trial: Trial, protection: Template): bigint => trial.agreementKey([[CKA.DERIVE, false], ...protection]);

/** Reads the value: of the key, of a copy, of a copy that is to be readable. */
function read(trial: Trial, key: bigint): void {
  if (trial.isReadable(key)) return;
  if (trial.gets(() => unless(trial.isReadable(trial.copy(key, []))))) return;
  unless(trial.isReadable(trial.copy(key, [[CKA.SENSITIVE, false]])));
}

/** Wraps the key under another: as it is, as a copy, and as a copy that is to be extractable. */
function export_(trial: Trial, key: bigint): void {
  if (trial.gets(() => trial.wrap(key))) return;
  if (trial.gets(() => trial.wrap(trial.copy(key, [])))) return;
  trial.wrap(trial.copy(key, [[CKA.EXTRACTABLE, true]]));
}

/** Changes an attribute of the key itself: where that goes through, the key is wider for good. */
const widens = (trial: Trial, key: bigint): void => {
  const changes: Template = [
    [CKA.SENSITIVE, false],
    [CKA.EXTRACTABLE, true],
    [CKA.DECRYPT, true],
  ];
  unless(changes.some((change) => trial.gets(() => trial.set(key, [change]))));
};

/** Attributes that a key of ours must not show. */
const WIDE: Partial<Record<Protection, Template>> = {
  sensitive: [[CKA.SENSITIVE, false]],
  extractable: [[CKA.EXTRACTABLE, true]],
  decrypt: [[CKA.DECRYPT, true]],
  derive: [[CKA.DERIVE, true]],
  modifiable: [[CKA.MODIFIABLE, true]],
};

/** Trials on the key itself. Copies are made by {@link read} and {@link export_} too. */
const SECRET_KEY_BREACHES: Partial<Record<Protection, (trial: Trial, key: bigint) => void>> = {
  sensitive: read,
  extractable: export_,
  decrypt: (trial, key) => trial.decrypt(key),
  derive: (trial, key) => trial.derive(key),
  modifiable: widens,
  copyable: (trial, key) => void trial.copy(key, [[CKA.DECRYPT, true]]),
  'unwrap-template': (trial, key) => unless(trial.isReadable(trial.unwrapReadable(key))),
};

const PRIVATE_KEY_BREACHES: typeof SECRET_KEY_BREACHES = {
  sensitive: read,
  extractable: export_,
  derive: (trial, key) => trial.agree(key),
  modifiable: widens,
  copyable: (trial, key) => void trial.copy(key, [[CKA.EXTRACTABLE, true]]),
};
