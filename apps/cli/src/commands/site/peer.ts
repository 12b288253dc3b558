import { AntipodeError } from '@antipode/runtime';
import { loadAgentConfig, peerFrom, pinPartitions } from '@antipode/site-agent';
import type { Command } from 'commander';
import { AGENT_CONFIG_OPTION, asFormerName, collect, command, JSON_OPTION } from '../../common.ts';
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
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nRun it at both sites. A domain key crosses only if each trusts the other. Then create the group, or bring a new\ndomain key to an existing group with `antipode group rotate-domain-key`.',
    )
    .action((group, { config, json, peer, scratchPeer, distributorPeer }) => {
      const pins = [
        ...peer.map((text: string) => peerFrom(text, 'member')),
        ...scratchPeer.map((text: string) => peerFrom(text, 'scratch')),
        ...distributorPeer.map((text: string) => peerFrom(text, 'distributor')),
      ];
      if (pins.length === 0)
        throw new AntipodeError('USAGE', 'expected at least one of --peer, --scratch-peer and --distributor-peer', {
          details: { field: 'peer' },
        });
      const loaded = loadAgentConfig(config);
      const added = pinPartitions({ config: loaded, group, pins });
      output({ json }).data(
        { group, added, pinsFile: loaded.pinsFile },
        () =>
          `${added} new ${added === 1 ? 'partition' : 'partitions'} trusted for group ${group} (${loaded.pinsFile})`,
      );
    });
}
