/**
 * The one error class and the one catalogue of everything that can go wrong.
 *
 * An error is made where the fact is known and translated in three places only: PKCS#11 return values
 * (`hsm-core/src/pkcs11/return-values.ts`), gRPC statuses (`protocol/src/status.ts`) and the queue. It never carries a
 * key label, a PIN or a blob: ids and digests only. `docs/errors.md` is generated from this file.
 */

/**
 * What the receiver of an error does:
 * - `retry`: transient; only the runner retries, capped and jittered.
 * - `stand-down`: our view is stale; stop at once, never retry.
 * - `operator`: a person must decide; park it and show the hint.
 * - `defect`: an invariant broke; log and crash, the supervisor restarts us.
 */
export type Disposition = 'retry' | 'stand-down' | 'operator' | 'defect';

interface CatalogueEntry {
  readonly disposition: Disposition;
  readonly summary: string;
  readonly hint: string;
}

export const CATALOGUE = {
  // Configuration and start-up
  CONFIG_INVALID: {
    disposition: 'operator',
    summary: 'A configuration file or value is not valid.',
    hint: 'Correct the place named in the message (file:line:column) and start again. Nothing was changed.',
  },
  USAGE: {
    disposition: 'operator',
    summary: 'The command line is not valid.',
    hint: 'Run the command with --help.',
  },
  FILE_EXISTS: {
    disposition: 'operator',
    summary: 'A file or folder that would be written already exists with other contents.',
    hint: 'Choose another folder, or remove the old one yourself if it is not needed any more. Nothing is overwritten.',
  },
  FILE_UNWRITABLE: {
    disposition: 'operator',
    summary: 'A file could not be read or written.',
    hint: 'Check free space, ownership and permissions of the path in the message, then try again.',
  },
  FILE_BUSY: {
    disposition: 'retry',
    summary: 'Another program holds a lock on a file of the agent, so nothing can be written to it.',
    hint: 'It is tried again by itself. Find the program that holds the lock with `fuser -v` on the path in the message; back the agent up with `antipode agent backup`, which needs no lock.',
  },
  FILE_DAMAGED: {
    disposition: 'operator',
    summary: 'A database of the agent is damaged, or is not a database.',
    hint: 'Check the disk. Put the journal back from `antipode agent backup` (docs/runbooks/back-up-an-agent.md); do not remove it, since it holds the identity of this site.',
  },
  PROGRAM_MISSING: {
    disposition: 'operator',
    summary: 'A program that this needs is not installed or does not start.',
    hint: 'Read what the program said in the message. Install what is missing, or mend what keeps it from starting.',
  },
  PIN_FILE_UNREADABLE: {
    disposition: 'operator',
    summary: 'The PIN file is missing, empty, too long, or not a regular file.',
    hint: 'Write the PIN as the only line of the file named in the configuration, owned by the agent, mode 0600 or 0400.',
  },
  PIN_FILE_EXPOSED: {
    disposition: 'operator',
    summary: 'The PIN file can be read by others than its owner.',
    hint: 'Run chmod 600 on it, and consider the PIN disclosed: change it if others could have read it.',
  },

  // The HSM
  MODULE_UNAVAILABLE: {
    disposition: 'operator',
    summary: 'The PKCS#11 module could not be loaded or initialised.',
    hint: 'Check the module path, its configuration (for SoftHSM: SOFTHSM2_CONF in `environment`) and its permissions; `antipode doctor` tries it.',
  },
  PARTITION_NOT_FOUND: {
    disposition: 'operator',
    summary: 'No slot holds a token with the configured serial number and label.',
    hint: 'Compare serial and label with `pkcs11-tool --list-token-slots` (of NSS, the label with `moduleParameters`). After a re-initialisation the serial is new: enrol the partition again.',
  },
  PIN_REFUSED: {
    disposition: 'operator',
    summary: 'The token refused the PIN. It will not be tried again until the PIN file changes, because tokens lock.',
    hint: 'Put the right PIN into the PIN file; it is noticed within seconds and tried once.',
  },
  PIN_LOCKED: {
    disposition: 'operator',
    summary: 'The user PIN of the token is locked, or one wrong attempt from it.',
    hint: 'Let the security officer unlock it (C_InitPIN or the vendor tool), then change the PIN file.',
  },
  HSM_UNAVAILABLE: {
    disposition: 'retry',
    summary: 'The HSM answered that it is busy, absent or failing.',
    hint: 'Usually transient. If it stays, check the HSM and its link with the vendor tools.',
  },
  HSM_SESSION_VOID: {
    disposition: 'retry',
    summary:
      'The session with the HSM is of no use any more. The agent starts its worker again and repeats the work once.',
    hint: 'Usually over by itself. If it comes again and again, look the CKR_ value in the details up in the vendor manual, and report the call to the HSM vendor.',
  },
  HSM_WORKER_LOST: {
    disposition: 'retry',
    summary: 'The process that talks to the HSM ended or hung in the middle of a call; it is started again.',
    hint: 'The state is read again before anything is repeated. If it happens often, report the call named in the message to the HSM vendor.',
  },
  HSM_REFUSED: {
    disposition: 'operator',
    summary: 'The HSM refused a call that should be allowed.',
    hint: 'Look the CKR_ code up in the vendor manual; policy or capability settings of the partition are the usual reason.',
  },
  HSM_FULL: {
    disposition: 'operator',
    summary: 'The partition, or the disk behind it, has no room for another object.',
    hint: 'Enlarge the partition or remove objects that are not needed. What was applied so far stays and is not repeated.',
  },
  PROTECTION_UNENFORCED: {
    disposition: 'operator',
    summary:
      'The token accepts a protection of keys and does not keep it, as a trial with throw-away keys or with a new own key has shown.',
    hint: 'Who holds the PIN of such a partition may get the domain key, and with it what every member has sealed. Read its page in docs/devices; to use it all the same, name these protections under `acceptUnenforced` of the partition.',
  },
  ID_TAKEN: {
    disposition: 'operator',
    summary:
      'The token keeps one key of a class per CKA_ID, and another key has the one that a restored key must have.',
    hint: 'Nothing was overwritten. Give one of the two keys another CKA_ID, or exclude it from the group by its filter.',
  },
  MECHANISM_MISSING: {
    disposition: 'operator',
    summary: 'The token passed no self-test for a mechanism that sealing needs.',
    hint: 'Antipode needs AES key wrap with padding (RFC 5649), ECDH on P-256 and ECDSA on P-256. See docs/devices for what a vendor must enable.',
  },

  // Sealing
  IDENTITY_MISSING: {
    disposition: 'operator',
    summary: 'The partition has no identity key, or it is not the one this agent made.',
    hint: 'A new partition needs `antipode partition init`. If the key was there before, somebody removed it: investigate first; `antipode doctor` tells the two apart.',
  },
  DOMAIN_KEY_MISSING: {
    disposition: 'operator',
    summary: 'The partition does not hold the domain key version that is needed.',
    hint: 'A member that missed a version gets the next one by itself; `antipode group rotate-domain-key` brings it at once. A new partition must be enrolled first (`antipode peer trust` at every site).',
  },
  DOMAIN_KEY_RETIRED: {
    disposition: 'operator',
    summary: 'A capture was ordered under an older domain key version than the one in use.',
    hint: 'The coordinator is behind: its database was restored, or it is not yours. Find out which, then bring a new version with `antipode group rotate-domain-key`.',
  },
  DOMAIN_KEY_UNTRUSTED: {
    disposition: 'operator',
    summary:
      'A key with CKA_WRAP_WITH_TRUSTED is not restored, since the security officer of this partition does not trust the domain key version.',
    hint: 'Have the security officer run `antipode partition trust-domain-key <partition> --officer-pin-file <file>` at the site that the message names. A partition without an officer key (`antipode partition show-identity` says so) cannot take such keys: set `officerKey: true` and make it a new identity.',
  },
  PEER_NOT_PINNED: {
    disposition: 'operator',
    summary: 'A peer showed a partition identity that this agent has not been told to trust.',
    hint: 'Compare the fingerprint with `antipode partition show-identity` at the other site, by telephone or on paper; if it is right, run `antipode peer trust --peer` here with what it prints.',
  },
  EXCHANGE_REFUSED: {
    disposition: 'operator',
    summary: 'A domain key exchange did not verify: a signature, a nonce or the order of the messages is wrong.',
    hint: 'Nothing was installed. Start the enrolment again; if it repeats, somebody may be between the sites.',
  },
  MANIFEST_INVALID: {
    disposition: 'operator',
    summary: 'A manifest does not have the expected form or digest, or its signature does not verify.',
    hint: 'The generation was refused and nothing was changed. Check the store and the link of the site that sent it.',
  },
  BLOB_INVALID: {
    disposition: 'operator',
    summary:
      'A sealed object does not have the digest that the signed manifest gives, or the token refused to unwrap it.',
    hint: 'The generation was refused and nothing was changed. Check the store of the site that sent it; pull again from another member.',
  },
  GENERATION_UNKNOWN: {
    disposition: 'retry',
    summary: 'The generation asked for is not in this store.',
    hint: 'It may not have been captured or pulled yet; the reconciler asks again.',
  },
  GENERATION_NOT_NEWER: {
    disposition: 'stand-down',
    summary: 'The generation is older than the one that is already applied here.',
    hint: 'Nothing to do: a roll-back is never applied. To go back to old contents, restore a generation by hand.',
  },
  GENERATION_LOST: {
    disposition: 'operator',
    summary: 'A generation was captured and is lost to service: the member that is active now does not have it.',
    hint: 'Do not rely on it: not every site that was asked has acknowledged it. What it alone had is at the site that captured it, and comes back as divergent objects. Look what the active member has, then replicate again.',
  },
  CAPTURE_HELD: {
    disposition: 'operator',
    summary:
      'A capture would lose more objects at once than the group allows: deleted ones, keys replaced under their own names, or what the token does not give any more. Nothing was captured, and the standbys keep what they have.',
    hint: 'See what it is at the active site: antipode deleted list <group>. If the objects are to go, or somebody has renewed the keys, accept it there: antipode deleted accept <group>. If the token was emptied or initialised by mistake, put them back: antipode deleted restore <group>. If nobody has renewed keys that were replaced, somebody may have put his own in their place: the standbys have the captured ones, antipode failover <group> --to <site>.',
  },
  OBJECT_UNPROVEN: {
    disposition: 'operator',
    summary: 'A key is there, but using it did not give the expected result.',
    hint: 'The generation is not acknowledged here. The object ids are in the details; run a drill at another site and compare. After a scrub, see docs/runbooks/key-damaged.md.',
  },
  DIGEST_MISMATCH: {
    disposition: 'operator',
    summary: 'What the standby reads back does not have the digest of the generation.',
    hint: 'Somebody changed the standby partition, or the token altered an attribute. `antipode status` names the site. After a scrub, what is missing or altered is made anew by the next replication.',
  },

  // Fencing and roles
  EPOCH_STALE: {
    disposition: 'stand-down',
    summary: 'The order carries a lower epoch than this agent has persisted.',
    hint: 'Nothing to do: a newer active member exists. The sender must read the state again.',
  },
  EPOCH_CONFLICT: {
    disposition: 'operator',
    summary: 'The same epoch was claimed for two owners, or an epoch jumps too far.',
    hint: 'This must not happen: look for a restored database or a second coordinator before you do anything else.',
  },
  LEASE_LAPSED: {
    disposition: 'retry',
    summary: 'The active member holds no valid lease, so it does not act as active.',
    hint: 'It resumes by itself when the coordinator renews the lease, unless another member was promoted.',
  },
  ROLE_REFUSED: {
    disposition: 'stand-down',
    summary: 'The order does not fit the role that this member has now.',
    hint: 'The coordinator reads the state again and decides anew.',
  },
  SITE_QUARANTINED: {
    disposition: 'operator',
    summary:
      'The journal of this site is not the one that was heard before: it was lost, or an older copy has taken its place.',
    hint: 'The site captures nothing, applies nothing and is not promoted. Find out which data folder it runs on, then run `antipode group reseat GROUP --dry-run`. See docs/runbooks/journals-disagree.md.',
  },
  GROUP_CONTRADICTED: {
    disposition: 'operator',
    summary: 'The database and the journals of the agents say different things of the group.',
    hint: 'Nothing is ordered and nobody is sent anywhere until they agree. `antipode group reseat GROUP --dry-run` shows what each says and what seating the group anew would do. See docs/runbooks/journals-disagree.md.',
  },
  RESEAT_REFUSED: {
    disposition: 'operator',
    summary: 'The group cannot be seated anew as it stands.',
    hint: 'The message says what is in the way. Bring back the sites that do not answer, or name the active site with --active.',
  },
  NOT_SERVED: {
    disposition: 'retry',
    summary: 'No member of the group serves now: a failover is under way, or is stuck.',
    hint: 'Send applications nowhere until this command answers. `antipode status` shows the failover; `antipode operation show ID` says what holds it up.',
  },
  SCRATCH_REFUSED: {
    disposition: 'operator',
    summary: 'The partition for the drill is not declared as scratch in the agent configuration, or is not empty.',
    hint: 'A drill never opens another partition. Declare one with `role: scratch` at that site, and keep everything else out of it.',
  },
  DRILL_UNCLEAN: {
    disposition: 'operator',
    summary: 'After a drill the scratch partition could not be emptied.',
    hint: 'The drill counts as failed. Empty the scratch partition with the vendor tool and run the drill again.',
  },

  // Control plane
  NOT_FOUND: {
    disposition: 'operator',
    summary: 'No such group, site, partition, drill or operation.',
    hint: 'List what exists with `antipode group list` or `antipode status`.',
  },
  ALREADY_EXISTS: {
    disposition: 'operator',
    summary: 'It exists already with other contents.',
    hint: 'Show it with `antipode group show`; choose another name for a new one.',
  },
  REQUEST_INVALID: {
    disposition: 'operator',
    summary: 'A request lacks a field or has a value outside its range.',
    hint: 'Correct the field named in the message.',
  },
  SITE_UNREACHABLE: {
    disposition: 'retry',
    summary: 'A peer could not be reached, or the link was lost in the middle of a call: its outcome is unknown.',
    hint: 'The state is read again and the call repeated. If it stays, check the peer and the link.',
  },
  PEER_BUSY: {
    disposition: 'retry',
    summary: 'A peer has taken as many calls of this caller as it takes at once, or a request did not arrive in time.',
    hint: 'Usually transient. If it stays, look in the log of the peer for who calls so often, and take its certificate away if nobody knows.',
  },
  PEER_REFUSED: {
    disposition: 'operator',
    summary:
      'The certificate of the caller does not allow this, or the identity that it shows belongs to another site or role.',
    hint: 'Check which certificate the process uses (docs/security.md has the table of who may call what), and what `pins.yaml` says of the identity in the message.',
  },
  CERTIFICATE_INVALID: {
    disposition: 'operator',
    summary: 'A certificate or key file is missing, expired, does not match, or has no usable identity.',
    hint: 'Issue a new one with `antipode init`, and check the clock of the machine.',
  },
  OPERATION_CANCELLED: {
    disposition: 'stand-down',
    summary: 'The operation was cancelled by an operator, or another order has replaced it.',
    hint: 'Look at `antipode status` for what is under way now. Nothing of the cancelled operation is done any more.',
  },
  FAILOVER_REFUSED: {
    disposition: 'operator',
    summary: 'No member can be promoted safely: no candidate, no majority, or generations would be lost.',
    hint: 'Read what would be lost in the message. `antipode failover --accept-loss` promotes all the same, where a majority can be reached; in a group of two it stands in for the lost site.',
  },
  GROUP_BUSY: {
    disposition: 'retry',
    summary:
      'Another operation of this group is under way, and this one must wait for it: one of the same kind, or a failover.',
    hint: 'Wait until it has ended (`antipode status` shows it), then repeat the command.',
  },
  LEADERSHIP_LOST: {
    disposition: 'stand-down',
    summary: 'This coordinator is not the leader any more.',
    hint: 'Nothing to do: the new leader carries on. The write was not made.',
  },
  DATABASE_UNAVAILABLE: {
    disposition: 'retry',
    summary: 'The database did not answer.',
    hint: 'Nothing is decided meanwhile. Check PostgreSQL; the coordinator reconnects by itself.',
  },
  QUEUE_UNAVAILABLE: {
    disposition: 'retry',
    summary: 'Redis did not answer, or is set up so that it may drop jobs.',
    hint: 'The reconciler enqueues again when it is back. Redis needs maxmemory-policy noeviction.',
  },
  TIMED_OUT: {
    disposition: 'retry',
    summary: 'Something took longer than its limit: its outcome is unknown.',
    hint: 'Read the state again (`antipode status`) before you repeat anything.',
  },
  INVARIANT_BROKEN: {
    disposition: 'defect',
    summary: 'Something that must always hold does not.',
    hint: 'This is a defect of Antipode. The process stops rather than go on; report the log with the code and ids.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof CATALOGUE;

/** Ids, digests and numbers that locate the fault. Never a label, a PIN or key material. */
export type ErrorDetails = Readonly<Record<string, string | number | bigint | boolean>>;

/** The error of the whole system. Its message starts with `[CODE]`, because tools often show nothing else. */
export class AntipodeError extends Error {
  override readonly name = 'AntipodeError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  readonly #hint: string | undefined;

  /** @param options.hint what to do here, where the place that raises the error knows better than the catalogue */
  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown; hint?: string | undefined } = {},
  ) {
    super(`[${code}] ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
    this.#hint = options.hint;
  }

  get disposition(): Disposition {
    return CATALOGUE[this.code].disposition;
  }

  get hint(): string {
    return this.#hint ?? CATALOGUE[this.code].hint;
  }

  /** The hint of the place that raised it; undefined where the catalogue's holds. */
  get ownHint(): string | undefined {
    return this.#hint;
  }

  /** Turns anything thrown into an `AntipodeError`; what is not ours is a defect, and keeps its cause. */
  static from(thrown: unknown): AntipodeError {
    if (thrown instanceof AntipodeError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new AntipodeError('INVARIANT_BROKEN', message, { cause: thrown });
  }
}

export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(CATALOGUE, value);
}

/** Whether `thrown` is an error of the catalogue with one of these codes. */
export function hasCode(thrown: unknown, ...codes: ErrorCode[]): thrown is AntipodeError {
  return thrown instanceof AntipodeError && codes.includes(thrown.code);
}

/** Stops the process's work where something that must always hold does not. */
export function invariant(condition: unknown, message: string, details?: ErrorDetails): asserts condition {
  if (!condition) throw new AntipodeError('INVARIANT_BROKEN', message, details === undefined ? {} : { details });
}
