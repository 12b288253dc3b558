/**
 * The one error class and the one catalogue of everything that can go wrong.
 *
 * An error is made where the fact is known and translated in three places only: PKCS#11 return values
 * (`cryptoki/src/return-values.ts`), gRPC statuses (`protocol/src/status.ts`) and the queue. It never carries a
 * key label, a PIN or a blob: ids and digests only. `docs/errors.md` is generated from this file.
 */

/**
 * How the receiver of an error reacts:
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
  ADDRESS_UNAVAILABLE: {
    disposition: 'operator',
    summary: 'A process cannot listen on its address: another program has it, or this machine does not have it yet.',
    hint: 'Find the program that uses it with `ss -ltnp`, wait until the network is up, or set another address in the configuration.',
  },
  USAGE: {
    disposition: 'operator',
    summary: 'The command line is not valid.',
    hint: 'Run the command with --help.',
  },
  FILE_EXISTS: {
    disposition: 'operator',
    summary: 'A file or folder to be written already exists with other contents.',
    hint: 'Choose another place, or remove what is there yourself if nobody needs it. Antipode overwrites nothing.',
  },
  SITE_RENAMED: {
    disposition: 'operator',
    summary: 'The data folder of an agent belongs to a site of another name.',
    hint: 'Set `site` in the configuration to the name that the folder belongs to, or `dataFolder` to the folder of this site. A site keeps its name. To replace it by a site of another name, remove the member from its groups. Take an empty data folder and initialised tokens for the new site, and add it as a new member.',
  },
  FILE_UNWRITABLE: {
    disposition: 'operator',
    summary: 'A file could not be read or written.',
    hint: 'Check free space, owner and permissions of the path in the message. Then try again.',
  },
  FILE_BUSY: {
    disposition: 'retry',
    summary: 'Another program holds a lock on a file of the agent. The agent cannot write to it.',
    hint: 'Find the program with `fuser -v` on the path in the message. The agent tries again by itself. For backups use `antipode agent backup`, which needs no lock.',
  },
  FILE_DAMAGED: {
    disposition: 'operator',
    summary: 'A database of the agent is damaged, or the file is not a database.',
    hint: 'Check the disk. Put the journal back from `antipode agent backup` (docs/runbooks/back-up-an-agent.md). Do not remove it: it holds the identity of this site.',
  },
  PROGRAM_MISSING: {
    disposition: 'operator',
    summary: 'A program that Antipode needs is not installed or does not start.',
    hint: 'Read in the message what the program said. Install it, or repair what keeps it from starting.',
  },
  PIN_FILE_UNREADABLE: {
    disposition: 'operator',
    summary: 'The PIN file is missing, empty, too long, or not a regular file.',
    hint: 'Write the PIN as the only line of the file that `pinFile` names. The user of the agent must own the file, with mode 0600 or 0400.',
  },
  PIN_FILE_EXPOSED: {
    disposition: 'operator',
    summary: 'Users other than its owner can read the PIN file.',
    hint: 'Run chmod 600 on the file. If other users could have read it, change the PIN.',
  },

  // The HSM
  MODULE_UNAVAILABLE: {
    disposition: 'operator',
    summary: 'The PKCS#11 module could not be loaded or initialised.',
    hint: 'Check the path of the module, its permissions and its configuration (for SoftHSM: SOFTHSM2_CONF in `environment`). `antipode doctor` tries it.',
  },
  PARTITION_NOT_FOUND: {
    disposition: 'operator',
    summary: 'No slot holds a token with the configured serial number and label.',
    hint: 'Compare serial number and label with `pkcs11-tool --list-token-slots`; for NSS, compare the label with `moduleParameters`. After a re-initialisation the serial number is new: see docs/runbooks/hsm-lost.md.',
  },
  PIN_REFUSED: {
    disposition: 'operator',
    summary:
      'The token refused the PIN. The agent does not try this PIN again, because tokens lock after some wrong attempts.',
    hint: 'Write the right PIN into the PIN file. The agent notices the change within seconds and tries the new PIN once.',
  },
  PIN_LOCKED: {
    disposition: 'operator',
    summary: 'The user PIN of the token is locked, or one wrong attempt away from it.',
    hint: 'Have the security officer unlock the PIN or set a new one (C_InitPIN or the vendor tool). Then write the new PIN into the PIN file.',
  },
  HSM_UNAVAILABLE: {
    disposition: 'retry',
    summary: 'The HSM reported that it is busy, absent or failing.',
    hint: 'Wait a moment: this is usually transient. If it continues, check the HSM and its link with the vendor tools. If the HSM is gone, see docs/runbooks/hsm-lost.md.',
  },
  HSM_SESSION_VOID: {
    disposition: 'retry',
    summary: 'The session with the HSM is no longer usable. The agent restarts its worker and repeats the work once.',
    hint: 'Wait a moment: this usually ends by itself. If it happens often, look up the CKR_ value from the details in the vendor manual, and report the call to the HSM vendor.',
  },
  HSM_WORKER_LOST: {
    disposition: 'retry',
    summary: 'The process that talks to the HSM ended or hung in the middle of a call. The agent starts it again.',
    hint: 'Wait a moment: the agent reads the state again before it repeats anything. If it happens often, report the call named in the message to the HSM vendor.',
  },
  HSM_REFUSED: {
    disposition: 'operator',
    summary: 'The HSM refused a call that should be allowed.',
    hint: 'Look up the CKR_ value in the vendor manual. The usual reason is a policy or capability of the partition.',
  },
  HSM_FULL: {
    disposition: 'operator',
    summary: 'The partition, or the disk behind it, has no room for another object.',
    hint: 'Enlarge the partition, or remove objects that nobody needs. Objects applied so far stay and are not applied again.',
  },
  TOKEN_STORE_UNUSABLE: {
    disposition: 'operator',
    summary: 'The files in which SoftHSM keeps a token cannot be read or written as native cloning needs it.',
    hint: 'Read in the message which path and why. The agent needs SOFTHSM2_CONF of the token, the file backend, and the rights of the user that owns the token folder.',
  },
  TOKEN_KEY_REFUSED: {
    disposition: 'operator',
    summary: 'A request for the key of a SoftHSM token, or the grant that answers it, is not what it must be.',
    hint: 'Read in the message what differs. Make the request again at the standby and have it granted again. Nothing was changed.',
  },
  PROTECTION_UNENFORCED: {
    disposition: 'operator',
    summary:
      'A trial with throw-away keys, or with a new own key, showed that the token accepts a protection of keys and does not enforce it.',
    hint: 'Read the page of the token in docs/devices. The PIN of such a partition can be enough to get the domain key, and with it everything that any member sealed. To use the partition despite that, name these protections under `acceptUnenforced` of the partition.',
  },
  ID_TAKEN: {
    disposition: 'operator',
    summary:
      'The token allows only one key of each class per CKA_ID, and another key already has the CKA_ID of the key to restore.',
    hint: 'Give one of the two keys another CKA_ID, or exclude it with the filter of the group. Nothing was overwritten.',
  },
  MECHANISM_MISSING: {
    disposition: 'operator',
    summary: 'The token does not have a mechanism that sealing needs, or failed the self-test of it.',
    hint: 'Enable AES key wrap with padding (RFC 5649), ECDH on P-256 and ECDSA on P-256. docs/devices says what a vendor must enable.',
  },
  LUNA_OUTPUT_UNCLEAR: {
    disposition: 'operator',
    summary: 'The output of `lunacm` cannot be read with certainty. Nothing is concluded from it.',
    hint: 'Compare the kept transcript with the phrases of the driver. Read the device with the vendor tool before you repeat anything.',
  },
  LUNA_OUTCOME_UNKNOWN: {
    disposition: 'operator',
    summary:
      '`lunacm` ended, hung or asked something in the middle of a command. The outcome of the command is unknown.',
    hint: 'Read both sides again before you repeat anything: the command can have had all of its effect, a part of it, or none.',
  },
  LUNA_HUMAN_NEEDED: {
    disposition: 'operator',
    summary: 'A Luna device waits for people: at its PED, for a new password, or to end its transport mode.',
    hint: 'Do what the message names, with the vendor tool. Then start the job again.',
  },
  LUNA_NOT_APPROVED: {
    disposition: 'operator',
    summary: 'A command would destroy objects, and no approval names this device, this label and this action.',
    hint: 'Approve the order for exactly this partition. Nothing was sent to the device.',
  },
  LUNA_SLOT_VIRTUAL: {
    disposition: 'operator',
    summary: 'The client shows only virtual slots of its high availability. Their members cannot be told apart.',
    hint: 'Give the agent a client configuration of its own, with `HAOnly = 0`, and name the serial number of one member.',
  },
  LUNA_UNREACHED: {
    disposition: 'retry',
    summary: '`lunacm` did not start, or a command that changes nothing got no answer.',
    hint: 'Check the path of `lunacm`, the group `hsmusers`, and the links to the appliances in Chrystoki.conf.',
  },
  LUNA_BUSY: {
    disposition: 'retry',
    summary: 'Another process works with this Luna device. A Backup HSM takes one backup at a time.',
    hint: 'Wait for the other process to end; its number is in the message. Then start the job again.',
  },
  LUNA_REFUSED: {
    disposition: 'operator',
    summary: '`lunacm` refused a command that should be allowed.',
    hint: 'Look up the code from the details in the vendor manual. The usual reason is a policy, a role or a version.',
  },

  ARCHIVE_INCOMPLETE: {
    disposition: 'operator',
    summary: 'Work with a vault ended, and not every object arrived or went.',
    hint: 'Look at `antipode archive list` for what is in the vault, and at the transcripts in the data folder of the site for the reason. The next backup removes what an own run left unfinished.',
  },
  ARCHIVE_KEPT: {
    disposition: 'operator',
    summary: 'The backup is one of those that must stay in the vault.',
    hint: 'Make another backup first (`antipode archive backup`), or lower `keep` of the vault in agent.yaml and --archive-keep of the group.',
  },

  // Sealing
  IDENTITY_MISSING: {
    disposition: 'operator',
    summary: 'The partition has no identity key, or not the one that this agent made.',
    hint: 'Run `antipode partition init <partition>` if the partition is new. If it had an identity key before, somebody removed the key: investigate first. `antipode doctor` tells the two cases apart. If the token has lost all of its keys, see docs/runbooks/hsm-lost.md.',
  },
  DOMAIN_KEY_MISSING: {
    disposition: 'operator',
    summary: 'The partition does not hold the required version of the domain key.',
    hint: 'Run `antipode group rotate-domain-key <group>` to bring a new version now, or wait: a member that missed a version gets the next one by itself. For a new partition, run `antipode peer trust` at every site first.',
  },
  DOMAIN_KEY_RETIRED: {
    disposition: 'operator',
    summary: 'A capture was ordered under an older version of the domain key than the one in use.',
    hint: 'Find out whether the database of the coordinator was restored from a backup, or whether the coordinator is not yours. Then bring a new version with `antipode group rotate-domain-key <group>`.',
  },
  SECRET_INEXACT: {
    disposition: 'operator',
    summary: 'The token does not carry a secret byte for byte, so the secret is not restored there.',
    hint: 'Enable RSA-OAEP with RSA-3072 keys and C_DigestKey with SHA-256 on this device. Secrets above 342 bytes need RSA-4096. Or make the secret again with 16, 24, 32, 40, ... bytes. docs/devices says which tokens carry secrets of any length.',
  },
  NATIVE_UNAVAILABLE: {
    disposition: 'operator',
    summary: 'A key that only native cloning moves is not restored, because the partition has no cloner.',
    hint: 'Give the partition a `native` section in agent.yaml, if its device clones (docs/howto/native.md), and restart the agent. Or declare the group as sealed again: `antipode group update <group> --movement sealed`.',
  },
  CLONING_DOMAIN_OTHER: {
    disposition: 'operator',
    summary: 'A key that only native cloning moves is not restored, because its source is in another cloning domain.',
    hint: 'Bring this partition into the cloning domain of the active member, by the way of its vendor, and set it up as a member again. Nothing was changed in it.',
  },
  NATIVE_MISMATCH: {
    disposition: 'operator',
    summary:
      'A native blob, or the device of another member, made another object than the signed manifest says. It does not count as restored.',
    hint: 'If the key was changed at its source since the last capture, wait for the next one. Otherwise find out who could change that site: a sound one sends no such object. Run a drill at another site to see whether it restores there.',
  },
  NATIVE_SOURCE_UNREACHED: {
    disposition: 'retry',
    summary:
      'A key that only devices move is not restored, because this client reaches no partition that it could come from.',
    hint: 'Look at the links of this client with `slot list` of lunacm, and name the partition of the active member in `sources` of the partition in agent.yaml, with its PIN file (docs/howto/native.md). The agent tries again by itself. Everything else was restored.',
  },
  NATIVE_CLONING: {
    disposition: 'retry',
    summary: 'A key that only devices move is not restored yet: its devices are copying it, or will soon be asked to.',
    hint: 'Wait. A copy runs beside the other work of the member, which can be promoted meanwhile. If the source does not answer, the agent ends the copy after the limits of Chrystoki.conf, and tries again by itself.',
  },
  NATIVE_NOT_CLONED: {
    disposition: 'operator',
    summary:
      'A key that only devices move is not restored, because its source did not give it, or this partition did not take it.',
    hint: 'Read the newest transcript in `luna/transcripts` of the data folder, and compare the policies of both partitions with `antipode doctor`. The agent tries again ever more seldom.',
  },
  DOMAIN_KEY_UNTRUSTED: {
    disposition: 'operator',
    summary:
      'A key with CKA_WRAP_WITH_TRUSTED is not restored, because the security officer of this partition has not trusted the version of the domain key that sealed it.',
    hint: 'Have the security officer run `antipode partition trust-domain-key <partition> --officer-pin-file <file>` at the site of the partition. `antipode status` lists the partitions that wait. A partition without an officer key cannot take such keys (`antipode partition show-identity <partition>` says whether it has one): set `officerKey: true` and make a new identity for it.',
  },
  PEER_NOT_PINNED: {
    disposition: 'operator',
    summary: 'A peer showed a partition identity that this site does not trust.',
    hint: 'Run `antipode partition show-identity <partition>` at the other site, and compare its fingerprint with the one in the message, by telephone or on paper. If they are equal, run the `antipode peer trust` command that it prints, at this site.',
  },
  EXCHANGE_REFUSED: {
    disposition: 'operator',
    summary: 'A domain key exchange did not verify: a signature, a nonce or the order of the messages is wrong.',
    hint: 'Bring the domain key again (`antipode group rotate-domain-key <group>`). Nothing was installed. If it fails again, check the network: somebody may be altering the traffic between the sites.',
  },
  MANIFEST_INVALID: {
    disposition: 'operator',
    summary: 'The form or digest of a manifest is not as expected, or its signature does not verify.',
    hint: 'Check the store and the link of the site that sent it. The generation was refused and nothing was changed.',
  },
  BLOB_INVALID: {
    disposition: 'operator',
    summary: 'A sealed object does not match its digest in the signed manifest, or the token refused to unwrap it.',
    hint: 'Check the disk of the site that sent the object. The receiving site refused it, and nothing was changed. A member fetches a damaged object again from the other members by itself. `antipode replicate <group>` tries this now.',
  },
  GENERATION_UNKNOWN: {
    disposition: 'retry',
    summary: 'The requested generation is not in this store.',
    hint: 'Wait a moment: the generation has not been captured or pulled yet. The reconciler asks again.',
  },
  GENERATION_NOT_NEWER: {
    disposition: 'stand-down',
    summary: 'The generation is older than the one already applied here.',
    hint: 'Do nothing: Antipode never applies an older generation over a newer one.',
  },
  GENERATION_LOST: {
    disposition: 'operator',
    summary: 'A captured generation is lost to service: the member that is now active does not have it.',
    hint: 'Do not rely on this generation: not all requested sites acknowledged it. Objects that only it had are at the site that captured it, and come back as divergent objects. Run `antipode group show <group>` to see what the active member has. Then run `antipode replicate <group>`.',
  },
  CAPTURE_HELD: {
    disposition: 'operator',
    summary:
      'A capture would lose more objects at once than the group allows: objects that were deleted, replaced by other keys under their names, or are no longer shown by the token. Or the token looks like an older copy of itself. Nothing was captured, and the standbys keep their objects.',
    hint: 'Run `antipode deleted list <group>` at the active site to see the objects. If they are meant to go, or their keys were renewed, run `antipode deleted accept <group>` there. If the token was emptied or initialised by mistake, run `antipode deleted restore <group> <object>...` there. If nobody renewed the replaced keys, an intruder may have replaced them: the standbys have the captured ones, so move there with `antipode failover <group> --to <site>`.',
  },
  OBJECT_UNPROVEN: {
    disposition: 'operator',
    summary: 'A key is present, but using it did not give the expected result.',
    hint: 'Run a drill at another site and compare: the object ids are in the details. The generation is not acknowledged here. After a scrub, see docs/runbooks/key-damaged.md.',
  },
  DIGEST_MISMATCH: {
    disposition: 'operator',
    summary: 'The objects that the standby reads back do not match the digest of the generation.',
    hint: 'Run `antipode status` to see which site it is. Find out there whether somebody changed the partition, or the token altered an attribute. After a scrub, the next replication restores missing or altered objects.',
  },

  // Fencing and roles
  EPOCH_STALE: {
    disposition: 'stand-down',
    summary: 'The epoch of the order is lower than the epoch that this agent has persisted.',
    hint: 'Do nothing: a newer active member exists. The sender reads the state again.',
  },
  WRITE_UNFENCED: {
    disposition: 'operator',
    summary: 'Antipode was about to change a token in no tenure. The HSM worker has refused.',
    hint: 'Nothing was changed. Report this with the log of the agent: it is a defect of Antipode.',
  },
  EPOCH_CONFLICT: {
    disposition: 'operator',
    summary: 'Two owners claim the same epoch, or an epoch jumps too far.',
    hint: 'Change nothing yet. First look for a database that was restored from a backup, and for a second coordinator. Normal operation never leads to this.',
  },
  LEASE_LAPSED: {
    disposition: 'retry',
    summary: 'The active member holds no valid lease, so it does not act as active.',
    hint: 'Wait a moment: the member resumes by itself when the coordinator renews the lease, unless another member was promoted.',
  },
  VOUCH_REFUSED: {
    disposition: 'retry',
    summary: 'A site does not vouch for an active member that no coordinator answers.',
    hint: 'Bring a coordinator back. A site that was started again vouches for nobody before it has heard one.',
  },
  CLOCK_RATE_DIFFERS: {
    disposition: 'operator',
    summary:
      'The clocks of a site and of the coordinator run at speeds that differ more than leases allow for. The site gets no lease, so nothing is captured while it is active.',
    hint: 'Find out which machine is wrong: compare the seconds of `date +%s.%N` on both machines over a minute. If several sites are named at once, it is the coordinator. Mend its time source, or move the process to another machine.',
  },
  NAMES_SHARED: {
    disposition: 'operator',
    summary:
      'Several objects of one class have one CKA_ID or one label, and different values. No token says which one a search finds first, so a program can find another one at another site or after a move.',
    hint: 'Run `antipode partition objects <partition> --shared-names` at the site: it lists them with labels and CKA_IDs. Give each its own CKA_ID and label at the active site, or destroy the one that nobody needs. Then the next capture brings the change to every site. Destroy an object that only a standby has at that site. Programs that search by CKA_ID and label together are not concerned where no two objects share both.',
  },
  ROLE_REFUSED: {
    disposition: 'stand-down',
    summary: 'The order does not fit the present role of this member.',
    hint: 'Do nothing: the coordinator reads the state again and decides again.',
  },
  SITE_QUARANTINED: {
    disposition: 'operator',
    summary:
      'The journal of this site is not the one that the coordinator knows: it was lost, or an older copy has replaced it.',
    hint: 'Find out which data folder the site runs on. Then run `antipode group reseat <group> --dry-run` and see docs/runbooks/journals-disagree.md. Until then the site captures and applies nothing and is not promoted.',
  },
  GROUP_CONTRADICTED: {
    disposition: 'operator',
    summary: 'The database and the journals of the agents contradict each other about the group.',
    hint: 'Run `antipode group reseat <group> --dry-run`: it shows both versions and what a reseat would do. See docs/runbooks/journals-disagree.md. Until they agree, nothing is ordered and `antipode resolve` names no site.',
  },
  RESEAT_REFUSED: {
    disposition: 'operator',
    summary: 'The group cannot be reseated in its present state.',
    hint: 'Read in the message what is in the way. Bring back the sites that do not answer, or name the active site with --active.',
  },
  BACKUP_INVALID: {
    disposition: 'operator',
    summary: 'The file is not a complete backup of a coordinator.',
    hint: 'Take another backup (`antipode coordinator backup`). Copy the file again where it was cut off on its way. Without any backup, see docs/runbooks/database-lost.md.',
  },
  RESTORE_REFUSED: {
    disposition: 'operator',
    summary: 'A backup of a coordinator is not put over records that are there.',
    hint: 'Name a new, empty database as `databaseUrl`, and restore into that. Leave the other one as it is.',
  },
  REBUILD_REFUSED: {
    disposition: 'operator',
    summary: 'The sites that answer do not show which epoch, members or filter a group has.',
    hint: 'Read in the message what is missing. Bring the silent sites back, and name every site, also witnesses. See docs/runbooks/rebuild-the-database.md.',
  },
  NOT_SERVED: {
    disposition: 'retry',
    summary: 'No member of the group serves at present: a failover is under way, or is stuck.',
    hint: 'Do not redirect applications until `antipode resolve <group>` names a site. `antipode status` shows the failover; `antipode operation show ID` says what delays it.',
  },
  SCRATCH_REFUSED: {
    disposition: 'operator',
    summary: 'The partition for the drill is not declared as scratch in the agent configuration, or is not empty.',
    hint: 'Declare an empty partition with `role: scratch` at that site, and keep everything else out of it. A drill opens no other partition.',
  },
  DRILL_UNCLEAN: {
    disposition: 'operator',
    summary: 'The scratch partition could not be emptied after a drill.',
    hint: 'Empty the scratch partition with the vendor tool and run the drill again. This drill counts as failed.',
  },

  // Control plane
  NOT_FOUND: {
    disposition: 'operator',
    summary: 'There is no such group, site, partition, drill or operation.',
    hint: 'List what exists with `antipode group list`, `antipode operation list` or `antipode status`.',
  },
  ALREADY_EXISTS: {
    disposition: 'operator',
    summary: 'Something with this name or at this place already exists, with other contents.',
    hint: 'Show the existing one with `antipode group show <group>`, or choose another name.',
  },
  REQUEST_INVALID: {
    disposition: 'operator',
    summary: 'A field of a request is missing or has a value outside its range.',
    hint: 'Correct the field named in the message.',
  },
  SITE_UNREACHABLE: {
    disposition: 'retry',
    summary: 'A peer could not be reached, or the link was lost during a call. The outcome of the call is unknown.',
    hint: 'Wait a moment: the caller reads the state again and repeats the call. If it continues, check the peer and the link. The runbooks for a lost site and a lost coordinator are in docs/runbooks.',
  },
  OTHER_PROCESS_ANSWERS: {
    disposition: 'retry',
    summary:
      'Another process answers at the address of a site than the one that speaks for it. It has done nothing, and its answer does not count.',
    hint: 'Wait a moment: after a restart of the agent this ends with its first heartbeat. If it continues, a copy of the data folder of this site is running: stop its agent. A site has one agent and one data folder.',
  },
  PEER_BUSY: {
    disposition: 'retry',
    summary: 'A peer already serves as many calls of this caller as it allows, or a request did not arrive in time.',
    hint: 'Wait a moment: this is usually transient. If it continues, find the frequent caller in the log of the peer. If nobody knows this caller, take its certificate away.',
  },
  PEER_REFUSED: {
    disposition: 'operator',
    summary:
      'The certificate of the caller does not allow this call, or the identity it shows belongs to another site or role.',
    hint: 'Check which certificate the process uses, and what `pins.yaml` says about the identity in the message. docs/security.md says which certificate allows which calls.',
  },
  OPERATOR_ROLE_INSUFFICIENT: {
    disposition: 'operator',
    summary: 'The certificate of an operator has a role that does not allow this call.',
    hint: 'Ask an operator with the role that the message names. To change the role of an operator, issue another certificate with `antipode init operator --role`.',
  },
  DASHBOARD_REFUSED: {
    disposition: 'operator',
    summary: 'The dashboard has refused a request: it is not from the page that was opened with the printed address.',
    hint: 'Open the address that `antipode dashboard` printed last. It works once, and each opening prints the next one.',
  },
  DASHBOARD_READ_ONLY: {
    disposition: 'operator',
    summary: 'The dashboard only shows: it takes no orders in this mode, or with this certificate.',
    hint: 'Give the order with the `antipode` command. For a dashboard that takes orders, use the certificate of an operator, and behind a proxy `--allow-orders`.',
  },
  CERTIFICATE_REQUEST_INVALID: {
    disposition: 'operator',
    summary:
      'A request for a certificate cannot be read, names another identity than its caller, or has a key that will not do.',
    hint: 'Make another request with `antipode certificate request`. A renewal has the identity of the certificate in use and a new P-256 key. Another name or role needs `antipode init`.',
  },
  ISSUER_MISSING: {
    disposition: 'operator',
    summary: 'The coordinator that answers holds no issuer, so it signs no certificates.',
    hint: 'Renew by hand: `antipode certificate request`, then `antipode certificate sign` at the authority, then `antipode certificate install`. Or give the coordinators an issuer (`antipode init issuer`).',
  },
  SITE_TOKEN_INVALID: {
    disposition: 'operator',
    summary: 'The text is not a token of `antipode site token`, or it was cut or changed on its way.',
    hint: 'Copy the whole line that `antipode site token` printed into a file, and name the file. If that line is lost, make another token.',
  },
  SITE_TOKEN_REFUSED: {
    disposition: 'operator',
    summary:
      'A coordinator does not accept the token of a site: it has ended, was used by another key or revoked, or is unknown.',
    hint: 'Make another token with `antipode site token SITE`. If the message says that another key has used the token and nobody of you did, somebody has read it: see docs/howto/join.md.',
  },
  JOIN_NOT_OFFERED: {
    disposition: 'operator',
    summary: 'A coordinator has no address at which machines can join.',
    hint: 'Set `join: { listen: host:port }` in coordinator.yaml of every coordinator and restart them, or make the folder of the site with `antipode init site`.',
  },
  CERTIFICATE_AWAITED: {
    disposition: 'operator',
    summary: 'A machine has made its key and its request, and waits for the certificate that the authority signs.',
    hint: 'Take the request that the message names to the authority and run `antipode certificate sign FILE --authority ca --out join.crt`. Put join.crt beside the request and run the same command again.',
  },
  CLOCK_WRONG: {
    disposition: 'operator',
    summary: 'The clock of this machine differs too much from that of the coordinator.',
    hint: 'Correct the clock (chrony, systemd-timesyncd) and run the same command again. Nothing was used up.',
  },
  CERTIFICATE_INVALID: {
    disposition: 'operator',
    summary: 'A certificate or key file is missing or expired, does not match the other, or has no usable identity.',
    hint: 'Read in the message which file is wrong, and why. Correct its path, owner or permissions, or the clock of the machine. If the certificate has expired or is the wrong one, issue a new one with `antipode init`.',
  },
  CERTIFICATE_REVOKED: {
    disposition: 'operator',
    summary: 'The security operators have revoked a certificate. Every process refuses whoever shows it.',
    hint: 'Run `antipode certificate revoked list` for who has revoked it, when and why. If the key was not stolen, or the thief is out, issue another certificate with the authority (`antipode init`, or `antipode certificate request` and `sign`). A renewal does not help. See docs/runbooks/a-key-was-stolen.md.',
  },
  REVOCATION_LIST_INVALID: {
    disposition: 'operator',
    summary:
      'A list of revoked certificates is malformed or was altered, belongs to another trust domain, or has a wrong signature.',
    hint: 'Compare the file with the one that was signed (`antipode approve show`). If the file named in the message is in the data folder of a process, remove it: the process receives the list again from the others. Nothing was changed.',
  },
  REVOCATION_LIST_UNSIGNED: {
    disposition: 'operator',
    summary:
      'Fewer operators than required have signed a list of revoked certificates. The one who made it does not count.',
    hint: 'Have more operators sign the file (`antipode approve sign`). The `revocation` section of each process says whose signatures count there. Nothing was changed.',
  },
  REVOCATION_LIST_OLD: {
    disposition: 'operator',
    summary:
      'A list of revoked certificates is older than the list in force, or has the version of another list. No process goes back to an older list.',
    hint: 'Run `antipode certificate revoked list`, and make the next version from the list in force with `antipode certificate revoke`. If nobody of you has signed the other list, find out who did. Nothing was changed.',
  },
  REVOCATION_RULES_MISSING: {
    disposition: 'operator',
    summary: 'A process has no `revocation` section, so it does not know whose signatures count, and takes no list.',
    hint: 'Add a `revocation` section with the public keys of the operators to the configuration of the process (docs/howto/revocation.md).',
  },
  OPERATION_CANCELLED: {
    disposition: 'stand-down',
    summary: 'An operator cancelled the operation, or another order replaced it.',
    hint: 'Run `antipode status` to see what is under way. The cancelled operation does nothing more.',
  },
  SITE_IN_USE: {
    disposition: 'operator',
    summary:
      'A site cannot be forgotten: it has a place in a group, an operation goes on there, or its agent is heard.',
    hint: 'Do what the message says first. `antipode status` shows which groups have a place at the site.',
  },
  SITE_FORGOTTEN: {
    disposition: 'operator',
    summary: 'An operator has retired this site, and its agent calls all the same. Nothing is taken from it.',
    hint: 'Stop the agent. If the site is to take part again, run `antipode site readmit`.',
  },
  PARTITION_STALLED: {
    disposition: 'operator',
    summary:
      'Work has its turn at a partition and has made no call to the HSM for longer than a call may take. All other work waits for it.',
    hint: 'Look in the log of the agent for the last order of the partition. If nothing moves, restart the agent: every order may be repeated.',
  },
  PROCESS_LATE: {
    disposition: 'operator',
    summary: 'A process gets its turn at the processor too late, again and again. Its leases are at risk.',
    hint: 'Check the load, the memory and the swap of its machine.',
  },
  OPERATION_STUCK: {
    disposition: 'operator',
    summary:
      'This coordinator cannot continue an operation. It parks the operation unchanged and continues all others.',
    hint: 'If another release of the coordinator wrote the operation, start that release: it continues. Otherwise this is a defect: report the log with the id of the operation. `antipode operation dismiss` gives the operation up, and the coordinator then plans again what is due.',
  },
  FAILOVER_REFUSED: {
    disposition: 'operator',
    summary: 'No member can be promoted safely: there is no candidate, no majority, or generations would be lost.',
    hint: 'Read in the message what is in the way. If generations would be lost, `antipode failover <group> --accept-loss` accepts that, and promotes if a majority can be reached. In a group of two, --accept-loss also replaces the vote of the lost site.',
  },
  FAILOVER_VETOED: {
    disposition: 'operator',
    summary:
      'A hook in the configuration of the coordinator says that the group must not move now. Nothing was changed.',
    hint: 'Read in the message what the hook said, and do what it asks for. `antipode failover <group> --ignore-vetoes` moves the group in spite of it.',
  },
  HOOK_FAILED: {
    disposition: 'retry',
    summary: 'A hook did not answer: it does not start, takes too long, or cannot be reached.',
    hint: 'Run the executable of the hook by hand as the user of the coordinator, or ask its address with curl. The coordinator tries again by itself.',
  },
  NOTICE_UNDELIVERED: {
    disposition: 'retry',
    summary: 'A receiver of notices has not accepted one: it does not answer, refuses, or takes too long.',
    hint: 'Run `antipode notify test <name>` after each change. For a web address ask it with curl, for a mail server look at its log, and run an executable by hand as the user of the coordinator. The coordinator tries again by itself.',
  },
  GROUP_BUSY: {
    disposition: 'retry',
    summary: 'Another operation of this group is under way: one of the same kind, or a failover.',
    hint: 'Wait until it has ended (`antipode status` shows it). Then repeat the command.',
  },
  GROUP_CHANGED: {
    disposition: 'operator',
    summary: 'The declaration of the group was changed after the operator saw it. This change was not made.',
    hint: 'Run the command again: it shows the consequences for the present declaration.',
  },
  GROUP_CHANGE_REFUSED: {
    disposition: 'operator',
    summary: 'The group cannot be changed like this in its present state. Nothing was changed.',
    hint: 'Read in the message what is in the way. Run the command with --dry-run to see the consequences of a change.',
  },
  APPROVAL_REQUIRED: {
    disposition: 'operator',
    summary: 'The action needs the approval of several operators, and no approval came with the order.',
    hint: 'Run `antipode approve request`, have the operators sign the file (`antipode approve sign`), and repeat the command with --approval FILE (docs/howto/approvals.md). Nothing was changed.',
  },
  APPROVAL_INVALID: {
    disposition: 'operator',
    summary: 'An approval is malformed or was altered, or a signature is not that of its operator.',
    hint: 'Compare the file with the one that was signed (`antipode approve show`). Make a new request if it was altered. Nothing was changed.',
  },
  APPROVAL_INSUFFICIENT: {
    disposition: 'operator',
    summary: 'Fewer operators than required have signed the approval. The requester does not count, and nobody twice.',
    hint: 'Have more operators sign the file (`antipode approve sign`). `antipode approve verify` says whose signatures count at a site. Nothing was changed.',
  },
  APPROVAL_EXPIRED: {
    disposition: 'operator',
    summary: 'The approval has expired, or does not count yet.',
    hint: 'Check the clock of the agent. Make a new request if the approval has expired. Nothing was changed.',
  },
  APPROVAL_MISMATCH: {
    disposition: 'operator',
    summary: 'The approval is for another action, group, partition or epoch, or its limits do not allow this.',
    hint: 'Compare the order with the approval (`antipode approve show`). Make a request for exactly this action. Nothing was changed.',
  },
  APPROVAL_USED: {
    disposition: 'operator',
    summary: 'The approval was used before, for another operation.',
    hint: 'Make a new request. `antipode approve list` shows where approvals were used. If nobody here used this one, somebody else did: look into it. Nothing was changed.',
  },
  LEADERSHIP_LOST: {
    disposition: 'stand-down',
    summary: 'This coordinator is no longer the leader. It did not write the change.',
    hint: 'Do nothing: the new leader continues.',
  },
  HEARTBEAT_LATE: {
    disposition: 'retry',
    summary:
      'A heartbeat arrived after a later one of the same agent, so its account is over. Nothing was taken from it.',
    hint: 'Do nothing: the agent sends the next heartbeat by itself. If this goes on, look for what delays messages between the site and the coordinator.',
  },
  HEARTBEAT_PARTIAL: {
    disposition: 'retry',
    summary:
      'A heartbeat told what has changed since one that this coordinator does not remember. Nothing was taken from it.',
    hint: 'Do nothing: the agent sends everything at once.',
  },
  NOT_LEADER: {
    disposition: 'retry',
    summary: 'This coordinator does not lead. It has answered nothing, and changed nothing.',
    hint: 'List every coordinator under `coordinators` in the configuration: agents and commands then find the one that leads by themselves. If none leads, check the coordinators and their database: see docs/runbooks/coordinator-lost.md.',
  },
  TERM_STALE: {
    disposition: 'stand-down',
    summary: 'An order or an answer is of a coordinator that does not lead any more. The agent has done nothing of it.',
    hint: 'Do nothing: the coordinator that leads now continues. A leader whose database is older than what the sites have seen begins a higher term by itself.',
  },
  DATABASE_UNAVAILABLE: {
    disposition: 'retry',
    summary: 'The database did not answer.',
    hint: 'Check PostgreSQL. The coordinator reconnects by itself, and decides nothing until then. See docs/runbooks/database-lost.md.',
  },
  QUEUE_UNAVAILABLE: {
    disposition: 'retry',
    summary: 'Redis did not answer, or its settings allow it to drop jobs.',
    hint: 'Check Redis, and set its maxmemory-policy to noeviction. The reconciler enqueues the jobs again when it is back.',
  },
  TIMED_OUT: {
    disposition: 'retry',
    summary: 'A call or an operation took longer than its limit. Its outcome is unknown.',
    hint: 'Read the state again (`antipode status`) before you repeat anything.',
  },
  INVARIANT_BROKEN: {
    disposition: 'defect',
    summary: 'Something that must always hold does not hold.',
    hint: 'Report the log with the code and the ids. This is a defect of Antipode; the process stopped so that it does no harm.',
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
