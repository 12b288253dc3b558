import { AntipodeError, processLog } from '@antipode/runtime';
import {
  initialisePartition,
  loadAgentConfig,
  matchLocally,
  type PartitionIdentity,
  peerFrom,
  peerText,
  pinPartitions,
  showIdentity,
} from '@antipode/site-agent';
import type { Command } from 'commander';
import { output, table } from '../output.ts';
import { collect, command, JSON_OPTION } from './common.ts';
import { filterOf, localRuleTable, ruleWarnings, withRuleOptions } from './rules.ts';

const CONFIG = ['-c, --config <file>', 'configuration of the site agent', 'agent.yaml'] as const;

const OPTIONS = { member: '--peer', scratch: '--scratch-peer' } as const;

function show(identity: PartitionIdentity, json: boolean | undefined, remark: string): void {
  output({ json }).data(identity, () =>
    [
      table(
        ['PARTITION', 'SERIAL', 'IDENTITY (SHA-256)'],
        [[identity.partition, identity.serial, identity.identitySha256]],
      ),
      `\nAt every other site:\n  antipode partition enrol <group> ${OPTIONS[identity.pin.role]} ${peerText(identity.pin)}\n`,
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
            ? 'Give this to the operators of the other sites, by telephone or on paper.'
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
    withRuleOptions(
      command('match', 'list the objects that rules would keep at this site; changes nothing', [
        'partition match main --exclude-label "local-*" --config site-a/agent.yaml',
      ]),
    )
      .argument('<partition>', 'name in the configuration')
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .action(async (name, options) => {
        const { config, json } = options;
        const rules = await matchLocally({
          config: loadAgentConfig(config),
          name,
          filter: filterOf(options),
          log: processLog(),
        });
        const out = output({ json });
        for (const warning of ruleWarnings(rules.map((one) => ({ ...one, objects: one.objects.length }))))
          out.note(warning);
        out.data(rules, () => localRuleTable(rules));
      }),
  );
  partition.addCommand(
    command('enrol', 'trust partitions of other sites for a group: they may exchange its domain key with this site', [
      'partition enrol payments --peer b=9aa08ea09924bb93=4f0c...e1 --scratch-peer c=77aa...=99ab...07 --config site-a/agent.yaml',
    ])
      .argument('<group>', 'replication group')
      .option('--peer <site=serial=sha256>', 'a member elsewhere, as its site shows it; repeat for each', collect, [])
      .option('--scratch-peer <site=serial=sha256>', 'a scratch partition elsewhere; repeat for each', collect, [])
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .addHelpText(
        'after',
        '\nBoth sites must do this: each trusts the other, or no domain key crosses. Then create the group,\nor bring a new domain key to an existing one with `antipode group rotate-domain-key`.',
      )
      .action((group, { config, json, peer, scratchPeer }) => {
        const pins = [
          ...peer.map((text: string) => peerFrom(text, 'member')),
          ...scratchPeer.map((text: string) => peerFrom(text, 'scratch')),
        ];
        if (pins.length === 0)
          throw new AntipodeError('USAGE', 'name one --peer or --scratch-peer at least', {
            details: { field: 'peer' },
          });
        const loaded = loadAgentConfig(config);
        const added = pinPartitions({ config: loaded, group, pins });
        output({ json }).data(
          { group, added, pinsFile: loaded.pinsFile },
          () =>
            `${added} new ${added === 1 ? 'partition' : 'partitions'} trusted for group ${group} (${loaded.pinsFile})`,
        );
      }),
  );
  return partition;
}
