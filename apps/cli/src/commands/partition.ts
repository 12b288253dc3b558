import { processLog } from '@antipode/runtime';
import {
  initialisePartition,
  loadAgentConfig,
  type PartitionIdentity,
  pinIdentities,
  showIdentity,
} from '@antipode/site-agent';
import type { Command } from 'commander';
import { output, table } from '../output.ts';
import { collect, command, JSON_OPTION } from './common.ts';

const CONFIG = ['-c, --config <file>', 'configuration of the site agent', 'agent.yaml'] as const;

function show(identity: PartitionIdentity, json: boolean | undefined, remark: string): void {
  output({ json }).data(identity, () =>
    [
      table(
        ['PARTITION', 'SERIAL', 'IDENTITY (SHA-256)'],
        [[identity.partition, identity.serial, identity.identitySha256]],
      ),
      remark,
    ].join('\n'),
  );
}

export function partitionCommand(): Command {
  const partition = command('partition', 'the partitions of a site; run these at the site itself');
  partition.addCommand(
    command('init', 'make the identity key of a partition in its token; safe to repeat', [
      'partition init main --config site-a/agent.yaml',
    ])
      .argument('<partition>', 'name in the configuration')
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .action(async (name, { config, json }) => {
        const identity = await initialisePartition({ config: loadAgentConfig(config), name, log: processLog() });
        show(
          identity,
          json,
          identity.isNew
            ? 'Give serial and identity to the operators of the other sites, by telephone or on paper.'
            : 'It was initialised before; the identity key is in the token and works.',
        );
      }),
  );
  partition.addCommand(
    command('show-identity', 'show serial and identity of a partition, for the operators of other sites', [
      'partition show-identity main --config site-a/agent.yaml',
    ])
      .argument('<partition>', 'name in the configuration')
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .action((name, { config, json }) =>
        show(
          showIdentity(loadAgentConfig(config), name),
          json,
          'Compare it by telephone or on paper, never by the way it is to protect.',
        ),
      ),
  );
  partition.addCommand(
    command('enrol', 'trust partitions of other sites for a group: they may exchange its domain key with this site', [
      'partition enrol payments --peer-identity 4f0c...e1 --peer-identity 99ab...07 --config site-a/agent.yaml',
    ])
      .argument('<group>', 'replication group')
      .requiredOption('--peer-identity <sha256>', 'identity of a partition elsewhere; repeat for each', collect)
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .addHelpText(
        'after',
        '\nBoth sites must do this: each trusts the other, or no domain key crosses. Then create the group,\nor bring a new domain key to an existing one with `antipode group rotate-domain-key`.',
      )
      .action((group, { config, json, peerIdentity }) => {
        const loaded = loadAgentConfig(config);
        const added = pinIdentities({ config: loaded, group, identities: peerIdentity });
        output({ json }).data(
          { group, added, pinsFile: loaded.pinsFile },
          () =>
            `${added} new ${added === 1 ? 'identity' : 'identities'} trusted for group ${group} (${loaded.pinsFile})`,
        );
      }),
  );
  return partition;
}
