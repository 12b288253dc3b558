import { randomBytes } from 'node:crypto';
import {
  APPROVAL_FORMAT,
  type ApprovalRequest,
  type ApprovedPartition,
  approvalBytes,
  approvalDigest,
  approvalFileText,
  approvalRequestFrom,
  EPOCH_UNLIMITED,
  GUARDED_ACTIONS,
  type GuardedAction,
  signedBytesOf,
} from '@antipode/protocol';
import { AntipodeError, requireNoFile, systemClock, writeNewFile } from '@antipode/runtime';
import { loadAgentConfig, loadCard, Pins, peerFrom, showIdentity } from '@antipode/site-agent';
import { type Command, InvalidArgumentError } from 'commander';
import { approvalLines } from '../../approvals/approval-file.ts';
import { useOperatorKey } from '../../approvals/operator-key.ts';
import { collect, command, count, JSON_OPTION, seatFrom } from '../../options/options.ts';
import { output } from '../../output.ts';

/** As little as people can act in. */
const HOURS_DEFAULT = 1;

const ENROL = 'enrol';

export function requestCommand(): Command {
  return command('request', 'write a request for an approval, signed by the operator who asks', [
    'approve request failover payments --partition b=9aa08ea09924bb93 --partition c=0c51... --epochs 4-6 --loses 1 --without-hearing a --hours 12 --as alice --key alice.pem --reason "night of the move" --out night.json',
    'approve request enrol payments --config site-d/agent.yaml --as alice --key alice.pem --reason "site d joins" --out enrol-d.json',
  ])
    .argument('<action>', `what is to be approved: ${GUARDED_ACTIONS.join(', ')}`, action)
    .argument('<group>', 'replication group')
    .option(
      '--partition <site=serial>',
      'a member that may act; repeatable. For enrol: site=serial=sha256, as `antipode partition show-identity` prints it',
      collect,
      [],
    )
    .option('--scratch-partition <site=serial=sha256>', 'a scratch partition to enrol; repeatable', collect, [])
    .option('--distributor-partition <site=serial=sha256>', 'a distributor to enrol; repeatable', collect, [])
    .option('--card <file>', 'enrol all partitions of a card (antipode peer card); repeatable', collect, [])
    .option('-c, --config <file>', "enrol this site's own partitions and all that it has pinned for the group")
    .option('--epochs <from-to>', 'epochs in which it holds, such as 4-6 or 4-; needed for all but enrol', epochs)
    .option('--loses <count>', 'failover: generations that may be lost at most', whole, 0)
    .option(
      '--keeps <generation>',
      'failover: the new active member must hold this generation or a later one',
      whole,
      0,
    )
    .option('--without-hearing <site>', 'failover: a site that may be silent; repeatable', collect, [])
    .option(
      '--object <id>',
      'restore: an object id, from `antipode deleted list`; repeatable. restore-backup and prepare-vault: one digest',
      collect,
      [],
    )
    .option('--required <count>', 'operators who must sign, without the one who asks', count, 2)
    .option('--hours <hours>', 'how long it holds', hours, HOURS_DEFAULT)
    .option('--not-before <time>', 'when it begins to hold, ISO 8601; by default now', time)
    .requiredOption('--reason <text>', 'why, for the operators who sign')
    .requiredOption('--as <name>', 'your name in the configurations of the agents')
    .requiredOption('--key <key>', 'your private key: a PKCS#8 file, or a PKCS#11 URI')
    .option('--pin-file <file>', 'file with the PIN of the token, or the passphrase of the key file')
    .requiredOption('--out <file>', 'where to write it')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nNothing is asked or told over the network. Send the file to the other operators: `antipode approve sign`.\nNames, times and limits are in the file in plain text. A change of any of them makes every signature useless.',
    )
    .action(async (action: GuardedAction, group: string, options) => {
      const out = output(options);
      requireNoFile(options.out);
      if (action !== ENROL && options.epochs === undefined)
        throw new AntipodeError('USAGE', `an approval for ${action} needs --epochs`, {
          details: { field: 'epochs' },
          hint: 'Read the epoch in force in `antipode group show`. A failover and a reseat take the next one, and a further one for each target that fails.',
        });
      const beginsMs = options.notBefore ?? systemClock.wallMs();
      const request = approvalRequestFrom({
        format: APPROVAL_FORMAT,
        action,
        group,
        partitions: action === ENROL ? enrolled(group, options) : options.partition.map(actor),
        epochs: options.epochs ?? { from: 1, to: EPOCH_UNLIMITED },
        limits: {
          losesAtMost: options.loses,
          keepsGeneration: options.keeps,
          withoutHearing: options.withoutHearing,
        },
        objects: options.object,
        required: options.required,
        requestedBy: options.as,
        reason: options.reason,
        nonce: randomBytes(16).toString('hex'),
        notBefore: new Date(beginsMs).toISOString(),
        expires: new Date(beginsMs + options.hours * 3_600_000).toISOString(),
      } satisfies ApprovalRequest);
      const bytes = approvalBytes(request);
      const signature = await useOperatorKey(options, (key) => key.sign(signedBytesOf(bytes)));
      const signatures = [{ operator: options.as, signature }];
      writeNewFile(options.out, approvalFileText(request, signatures), { mode: 0o644 });
      const digest = approvalDigest(bytes);
      out.data({ file: options.out, digest, request }, () =>
        [...approvalLines({ parsed: request, digest, signatures }), `Written to ${options.out}`].join('\n'),
      );
    });
}

interface EnrolOptions {
  readonly partition: readonly string[];
  readonly scratchPartition: readonly string[];
  readonly distributorPartition: readonly string[];
  readonly card: readonly string[];
  readonly config?: string | undefined;
}

/** Each once: a card and the pins of a site name the same. */
function enrolled(group: string, options: EnrolOptions): ApprovedPartition[] {
  const config = options.config === undefined ? undefined : loadAgentConfig(options.config);
  const own =
    config === undefined
      ? []
      : config.partitions.map(({ name, role }) => {
          const { serial, identitySha256: identity } = showIdentity(config, name);
          return { site: config.site, serial, role, identity };
        });
  const all = [
    ...own,
    ...(config === undefined ? [] : new Pins(config.pinsFile).of(group)),
    ...options.card.flatMap((file) => loadCard(file).pins),
    ...options.partition.map((text) => peerFrom(text, 'member')),
    ...options.scratchPartition.map((text) => peerFrom(text, 'scratch')),
    ...options.distributorPartition.map((text) => peerFrom(text, 'distributor')),
  ].map(({ site, serial, role, identity }) => ({ site, serial, role, identity }));
  return [...new Map(all.map((one) => [`${one.site} ${one.serial} ${one.role} ${one.identity}`, one])).values()];
}

function actor(text: string): ApprovedPartition {
  return { ...seatFrom(text), role: 'member', identity: '' };
}

function action(text: string): GuardedAction {
  const known = GUARDED_ACTIONS.find((one) => one === text);
  if (known === undefined) throw new InvalidArgumentError(`It must be one of: ${GUARDED_ACTIONS.join(', ')}.`);
  return known;
}

function epochs(text: string): ApprovalRequest['epochs'] {
  const [, from, dash, to] = /^(\d{1,15})(-)?(\d{1,15})?$/.exec(text) ?? [];
  if (from === undefined) throw new InvalidArgumentError('It must be an epoch, or a range such as 4-6 or 4-.');
  return {
    from: Number(from),
    to: to !== undefined ? Number(to) : dash === undefined ? Number(from) : EPOCH_UNLIMITED,
  };
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

function hours(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 31 * 24)) throw new InvalidArgumentError('It must be a number of hours, at most 744.');
  return value;
}

function time(text: string): number {
  const ms = Date.parse(text);
  if (!Number.isFinite(ms)) throw new InvalidArgumentError('It must be a time such as 2026-11-28T18:00:00Z.');
  return ms;
}
