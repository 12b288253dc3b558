import { existsSync, statSync } from 'node:fs';
import { isName } from '@antipode/protocol';
import { AntipodeError, writeNewFile } from '@antipode/runtime';
import {
  type AgentConfig,
  type Card,
  cardText,
  checkCode,
  codeOf,
  type Distrusted,
  distrustPartitions,
  type GroupDistrust,
  loadAgentConfig,
  loadCard,
  Pins,
  peerFrom,
  pinPartitions,
  planDistrust,
  showIdentity,
} from '@antipode/site-agent';
import type { Command } from 'commander';
import { ask, confirm } from '../../confirm.ts';
import { AGENT_CONFIG_OPTION, asFormerName, collect, command, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';

/** The option under which a partition of each role is trusted. */
export const TRUST_OPTIONS = {
  member: '--peer',
  scratch: '--scratch-peer',
  distributor: '--distributor-peer',
} as const;

const EXAMPLE =
  'payments --peer b=9aa08ea09924bb93=4f0c...e1 --scratch-peer c=77aa...=99ab...07 --config site-a/agent.yaml';

export function peerCommand(): Command {
  const peer = command('peer', 'the partitions of other sites that this site trusts; run these at the site itself');
  peer.addCommand(trustCommand({ name: 'trust', path: 'peer trust' }));
  peer.addCommand(cardCommand());
  peer.addCommand(distrustCommand());
  return peer;
}

/** `partition enrol`, as `peer trust` was called before. */
export function formerTrustCommand(): Command {
  return asFormerName(
    trustCommand({ name: 'enrol', path: 'partition enrol' }).hook('preAction', () => {
      process.stderr.write('`antipode partition enrol` is now `antipode peer trust`. The old name still works.\n');
    }),
  );
}

function trustCommand({ name, path }: { name: string; path: string }): Command {
  return command(name, 'trust partitions of other sites: they may exchange the domain key of a group with this site', [
    `${path} ${EXAMPLE}`,
  ])
    .argument('<group>', 'replication group')
    .option('--peer <site=serial=sha256>', 'a member at another site, as that site shows it; repeatable', collect, [])
    .option('--scratch-peer <site=serial=sha256>', 'a scratch partition at another site; repeatable', collect, [])
    .option(
      '--distributor-peer <site=serial=sha256>',
      'a partition that alone brings domain keys; this site then takes them from no other',
      collect,
      [],
    )
    .option(
      '--file <card>',
      'the card of another site, with the partitions that it names (`antipode peer card`); repeatable',
      collect,
      [],
    )
    .option(
      '--code <code>',
      'the code of a card, as an operator of that site has read it aloud; one for each card, in the same order',
      collect,
      [],
    )
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nA card may come over any network, since its code is compared by telephone: an operator of that site reads the code\naloud (`antipode peer card`), and you type it here. Without --code the command asks for it.\nRun it at both sites. A domain key crosses only if each trusts the other. Then create the group, or bring a new\ndomain key to an existing group with `antipode group rotate-domain-key`.',
    )
    .action(async (group, { config, json, peer, scratchPeer, distributorPeer, file, code }) => {
      const loaded = loadAgentConfig(config);
      const pins = [
        ...(await comparedCards(file.map(loadCard), code, json)).flatMap((card) => card.pins),
        ...peer.map((text: string) => peerFrom(text, 'member')),
        ...scratchPeer.map((text: string) => peerFrom(text, 'scratch')),
        ...distributorPeer.map((text: string) => peerFrom(text, 'distributor')),
      ];
      if (pins.length === 0)
        throw new AntipodeError(
          'USAGE',
          'expected at least one of --file, --peer, --scratch-peer and --distributor-peer',
          {
            details: { field: 'peer' },
          },
        );
      const added = pinPartitions({ config: loaded, group, pins });
      output({ json }).data(
        { group, added, pinsFile: loaded.pinsFile },
        () =>
          `${added} new ${added === 1 ? 'partition' : 'partitions'} trusted for group ${group} (${loaded.pinsFile})`,
      );
    });
}

/**
 * Cards whose codes are the ones that people have compared. The command never shows the code of a foreign card: otherwise
 * a person could confirm it without asking the other site.
 */
async function comparedCards(
  cards: readonly Card[],
  codes: readonly string[],
  json: boolean | undefined,
): Promise<readonly Card[]> {
  if (codes.length > 0 && codes.length !== cards.length)
    throw new AntipodeError('USAGE', `expected one --code for each --file, found ${codes.length} for ${cards.length}`, {
      details: { field: 'code' },
    });
  for (const [index, card] of cards.entries()) {
    output({ json }).note(`The card of site ${card.site} names ${card.pins.map(partitionText).join(', ')}.`);
    checkCode(
      card,
      codes[index] ??
        (await ask(`Call an operator of site ${card.site}, and type the code that is read aloud there: `, {
          option: '--code',
        })),
    );
  }
  return cards;
}

function cardCommand(): Command {
  return command('card', 'write identities of this site to a card for other sites, and show its code', [
    'peer card --partition main --out card-of-a.yaml --config site-a/agent.yaml',
  ])
    .option(
      '--partition <name>',
      'a partition that the others are to trust; repeatable. May be left out where the site has one partition',
      collect,
      [],
    )
    .option('--out <file>', 'where to write the card; by default it is printed')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nA site that trusts the card trusts each partition on it. Make a card for each group, with the partitions that serve it\nand no others.\nSend the card over any network. Read the code aloud, by telephone or face to face, to an operator who knows your voice.\nThe card holds no secret.',
    )
    .action((options) => {
      const config = loadAgentConfig(options.config);
      const pins = cardPartitions(config, options.partition).map((name) => showIdentity(config, name).pin);
      const card = { site: config.site, pins };
      const code = codeOf(card);
      if (options.out !== undefined) {
        writeNewFile(options.out, cardText(card));
      }
      output(options).data({ site: card.site, partitions: pins, code, file: options.out ?? null }, () =>
        [
          ...(options.out === undefined ? [cardText(card)] : [`Card of site ${card.site}: ${options.out}`]),
          `Code of this card: ${code}`,
          'Read the code aloud to the operators of the other sites. Never send it with the card.',
        ].join('\n'),
      );
    });
}

/** A card that names more than is meant would let every partition of this site receive a group's keys. @throws USAGE */
function cardPartitions({ site, partitions }: AgentConfig, names: readonly string[]): readonly string[] {
  if (names.length > 0) return [...new Set(names)];
  const [only, ...others] = partitions;
  if (only !== undefined && others.length === 0) return [only.name];
  const known = partitions.map(({ name, role }) => `${name} (${role})`).join(', ');
  throw new AntipodeError('USAGE', `site ${site} has ${partitions.length} partitions: ${known}; expected --partition`, {
    details: { field: 'partition' },
    hint: `Name each partition that the other sites are to trust for the group, for example \`antipode peer card --partition ${only?.name ?? 'main'}\`. A card with all of them would let each receive the keys of the group.`,
  });
}

const partitionText = ({ serial, role }: { serial: string; role: string }): string => `${role} ${serial}`;

function distrustCommand(): Command {
  return command('distrust', 'take back the trust in partitions of another site; says first what follows', [
    'peer distrust b --config site-a/agent.yaml',
    'peer distrust b --partition 9aa08ea09924bb93 --group payments --config site-a/agent.yaml',
    'peer distrust card-of-b.yaml --yes --json --config site-a/agent.yaml',
  ])
    .argument('<site|card>', 'name of the site, or the file of its card: then the partitions on it')
    .option('--partition <serial>', 'only the partition with this serial number; repeatable', collect, [])
    .option('--group <group>', 'only for this group')
    .option(...AGENT_CONFIG_OPTION)
    .option('--yes', 'do not ask for confirmation')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nIt changes pins.yaml of this site only, and no key. The partition keeps the keys and the versions of the domain key\nthat it has. Remove it from the group first, if it is a member (`antipode group remove-member`), and wait until every\nmember has acknowledged a generation under the next version of the domain key.\nIt counts at once, also for an agent that runs. To trust the site again, use `antipode peer trust`.',
    )
    .action(async (who, { config: file, json, yes, partition, group }) => {
      const config = loadAgentConfig(file);
      const distrusted: Distrusted = {
        ...whoIs(config, who),
        ...(partition.length === 0 ? {} : { serials: partition }),
        ...(group === undefined ? {} : { group }),
      };
      const { site } = distrusted;
      const plans = await planDistrust(config, distrusted);
      for (const line of plans.flatMap(({ consequences }) => consequences)) output({ json }).note(line);
      if (plans.length > 0 && yes !== true) await confirm(site, 'the site');
      const removed = plans.length === 0 ? 0 : distrustPartitions(config, distrusted);
      const { pinsFile } = config;
      output({ json }).data({ site, removed, groups: plans.map(shown), pinsFile }, () =>
        removed === 0
          ? `Nothing of that is trusted here; nothing was changed (${pinsFile}). ${trustedText(config, site)}`
          : `${removed} ${removed === 1 ? 'pin' : 'pins'} of site ${site} taken back (${pinsFile}). ${trustedText(config, site)}`,
      );
    });
}

/** A site that is trusted here is meant even if a file has its name. @throws USAGE, CONFIG_INVALID */
function whoIs(config: AgentConfig, who: string): Pick<Distrusted, 'site' | 'card'> {
  const isTrusted = Object.values(new Pins(config.pinsFile).read()).some((pins) =>
    pins.some(({ site }) => site === who),
  );
  if (!isTrusted && existsSync(who) && statSync(who).isFile()) {
    const card = loadCard(who);
    return { site: card.site, card };
  }
  if (isName(who)) return { site: who };
  throw new AntipodeError('USAGE', `${who} is neither a file nor the name of a site`, {
    details: { field: 'site' },
    hint: 'Give the name of the other site as pins.yaml has it, or the path of its card.',
  });
}

const shown = ({ group, pins, losesReplication, consequences }: GroupDistrust) => ({
  group,
  losesReplication,
  partitions: pins.map(({ serial, role, identity }) => ({ serial, role, identity })),
  consequences,
});

/** So that a name with a mistake in it does not look like a success. */
function trustedText(config: AgentConfig, site: string): string {
  const all = Object.values(new Pins(config.pinsFile).read()).flat();
  const ofSite = all.filter((pin) => pin.site === site).map(partitionText);
  const others = [...new Set(all.map((pin) => pin.site))].sort();
  return ofSite.length > 0
    ? `Of site ${site}, this site still trusts ${[...new Set(ofSite)].join(', ')}.`
    : `Sites that are trusted: ${others.length === 0 ? 'none' : others.join(', ')}.`;
}
