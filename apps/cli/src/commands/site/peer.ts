import { existsSync } from 'node:fs';
import { AntipodeError, writeFileDurably } from '@antipode/runtime';
import {
  type Card,
  cardText,
  checkCode,
  codeOf,
  loadAgentConfig,
  loadCard,
  peerFrom,
  pinPartitions,
  showIdentity,
} from '@antipode/site-agent';
import type { Command } from 'commander';
import { ask } from '../../confirm.ts';
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
      'the card of another site, with all its partitions (`antipode peer card`); repeatable',
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
        ...(await comparedCards(file.map(loadCard), code)).flatMap((card) => card.pins),
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
async function comparedCards(cards: readonly Card[], codes: readonly string[]): Promise<readonly Card[]> {
  if (codes.length > 0 && codes.length !== cards.length)
    throw new AntipodeError('USAGE', `expected one --code for each --file, found ${codes.length} for ${cards.length}`, {
      details: { field: 'code' },
    });
  for (const [index, card] of cards.entries())
    checkCode(
      card,
      codes[index] ??
        (await ask(`Call an operator of site ${card.site}, and type the code that is read aloud there: `, {
          option: '--code',
        })),
    );
  return cards;
}

function cardCommand(): Command {
  return command('card', 'write the identities of this site to a card for other sites, and show its code', [
    'peer card --out card-of-a.yaml --config site-a/agent.yaml',
  ])
    .option('--out <file>', 'where to write the card; by default it is printed')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nSend the card over any network. Read the code aloud, by telephone or face to face, to an operator who knows your voice.\nThe card holds no secret.',
    )
    .action((options) => {
      const config = loadAgentConfig(options.config);
      const pins = config.partitions.map(({ name }) => showIdentity(config, name).pin);
      const card = { site: config.site, pins };
      const code = codeOf(card);
      if (options.out !== undefined) {
        if (existsSync(options.out))
          throw new AntipodeError('FILE_EXISTS', `file exists already: ${options.out}`, {
            details: { path: options.out },
          });
        writeFileDurably(options.out, cardText(card));
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
