import { processLog } from '@antipode/runtime';
import {
  type IdentityMove,
  type InitialisationPlan,
  initialisePartition,
  loadAgentConfig,
  moveIdentity,
  type PartitionIdentity,
  peerText,
  planInitialisation,
  planTrust,
  showIdentity,
  trustDomainKeys,
} from '@antipode/site-agent';
import type { Command } from 'commander';
import { confirm } from '../../confirm.ts';
import { AGENT_CONFIG_OPTION, collect, command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { commandAt } from '../../packaged.ts';
import { detectCommand } from './detect.ts';
import { formerFindCommand, objectCommands } from './objects.ts';
import { formerTrustCommand, TRUST_OPTIONS } from './peer.ts';
import { tokenKeyCommands } from './token-key.ts';

interface Shown {
  readonly config: string;
  readonly json: boolean | undefined;
  readonly remark: string;
}

/** The other sites have what this one has: the package, or the sources. */
function show(identity: PartitionIdentity, { config, json, remark }: Shown): void {
  output({ json }).data(identity, () =>
    [
      table(
        ['PARTITION', 'SERIAL', 'IDENTITY (SHA-256)'],
        [[identity.partition, identity.serial, identity.identitySha256]],
      ),
      identity.pin.role === 'distributor'
        ? 'This is a distributor: it brings domain keys and keeps none. Trust it at its own site too.'
        : identity.hasReceivingKey
          ? 'The fingerprint covers the signing key and the receiving key.'
          : 'This partition has no receiving key. Its PIN and its place on the network are enough to receive a domain key in software.',
      ...(identity.hasOfficerKey
        ? [
            'It covers the officer key too. Keys with CKA_WRAP_WITH_TRUSTED replicate after `antipode partition trust-domain-key`.',
          ]
        : []),
      `\nRun at every other site:\n  ${commandAt(config)} peer trust <group> ${TRUST_OPTIONS[identity.pin.role]} ${peerText(identity.pin)}\n`,
      remark,
    ].join('\n'),
  );
}

/** How far it is, and what comes next. */
export function moveText(
  { partition, phase, identitySha256, pin, waitsFor }: IdentityMove,
  here: ReturnType<typeof commandAt>,
): string {
  const run = `${here} partition move-identity ${partition}`;
  const listed = table(['PARTITION', 'NEW IDENTITY (SHA-256)', 'STATE'], [[partition, identitySha256, phase]]);
  switch (phase) {
    case 'made':
      return [
        listed,
        'The old identity is in use. The new one can replace it when every other site trusts both.',
        `\nCompare it by telephone or on paper, then run at every other site:\n  ${here} peer trust <group> ${TRUST_OPTIONS[pin.role]} ${peerText(pin)}\n\nThen here:\n  ${run} --confirm ${identitySha256}`,
      ].join('\n');
    case 'switched':
      return [
        listed,
        'The new identity is in use. The old key pair is still in the token. It can be destroyed after this:',
        ...waitsFor.map((one) => `  ${one}`),
        `\nThen here:\n  ${run} --destroy-old --pinned-at <site> for every other site`,
      ].join('\n');
    case 'moved':
      return `${listed}\nThe identity key is in its own token, and the partition holds no other.\nThe other sites can remove the old pin from pins.yaml when no generation signed with it is needed.`;
  }
}

/** The objects that `init` adds, and the effect on programs. Empty if it adds nothing. */
export function announcementOf({
  isInitialised,
  tokenLabel,
  identityTokenLabel,
  makesReceivingKey,
  makesOfficerKey,
  hasFreeSlot,
}: InitialisationPlan): string[] {
  if (isInitialised) return [];
  const place = identityTokenLabel ?? tokenLabel;
  const added = [
    `Adds to token ${place}: one private EC key, "antipode identity". It signs, and cannot be taken out.`,
    ...(makesReceivingKey
      ? [
          `Adds to token ${tokenLabel}: one private RSA key, "antipode receiving key". It unwraps domain keys, does nothing else, and cannot be taken out. Programs that use "the private key of the token" can find it and fail. \`receivingKey: false\` of this partition leaves it out.`,
        ]
      : []),
    ...(makesOfficerKey
      ? [
          `Adds to token ${tokenLabel}: one private RSA key, "antipode officer key". Only the security officer can unwrap with it. It is visible without a login, and a session without a login can destroy it.`,
        ]
      : []),
    `Later, for each version of a group's domain key, adds to token ${tokenLabel}: one secret AES key, "antipode domain key <group> <version>". It wraps and unwraps, and cannot be taken out.`,
    'Programs that search by label or id find the same keys as before. Programs that use "the secret key of the token" find more than one.',
  ];
  if (identityTokenLabel !== undefined) return added;
  return [
    ...added,
    'Programs that use "the private key of the token" can find this one, and sign with it.',
    hasFreeSlot
      ? 'The module has a free slot: make a token there for the identity key alone, and name it as `identityPartition` of this partition in the configuration. Then no program finds the key.'
      : 'If the device has room for another token, name it as `identityPartition` of this partition in the configuration. Then no program finds the key.',
  ];
}

export function partitionCommand(): Command {
  const partition = command('partition', 'partitions of a site; run these at the site itself');
  partition.addCommand(detectCommand());
  partition.addCommand(
    command('init', 'make the identity key of a partition in its token; safe to repeat', [
      'partition init main --config site-a/agent.yaml',
    ])
      .argument('<partition>', 'name in the configuration')
      .option(
        '--replace-lost-identity',
        'make another identity key if the token has lost it; every site must trust the new one',
      )
      .option(...AGENT_CONFIG_OPTION)
      .option('--yes', 'do not ask for confirmation')
      .option(...JSON_OPTION)
      .action(async (name, { config: file, json, yes, replaceLostIdentity = false }) => {
        const [config, log] = [loadAgentConfig(file), processLog()];
        const plan = await planInitialisation({ config, name, log });
        for (const line of announcementOf(plan)) output({ json }).note(line);
        if (!plan.isInitialised && !yes) await confirm(name, 'the partition');
        const identity = await initialisePartition({ config, name, log, replaceLost: replaceLostIdentity });
        const remark = identity.isNew
          ? 'Give this to the operators of the other sites, by telephone or on paper.'
          : 'It was initialised before. The identity key is in the token and works.';
        show(identity, { config: file, json, remark });
      }),
  );
  partition.addCommand(
    command('show-identity', 'show serial number and identity of a partition, for the operators of other sites', [
      'partition show-identity main --config site-a/agent.yaml',
    ])
      .argument('<partition>', 'name in the configuration')
      .option(...AGENT_CONFIG_OPTION)
      .option(...JSON_OPTION)
      .action((name, { config, json }) =>
        show(showIdentity(loadAgentConfig(config), name), {
          config,
          json,
          remark: 'Compare it by telephone or on paper, never over the network that it protects.',
        }),
      ),
  );
  partition.addCommand(
    command(
      'move-identity',
      'move the identity of a partition into the token of its `identityPartition`, step by step; safe to repeat',
      [
        'partition move-identity main --config site-a/agent.yaml',
        'partition move-identity main --confirm 4f0c...e1 --config site-a/agent.yaml',
        'partition move-identity main --destroy-old --pinned-at b --pinned-at c --config site-a/agent.yaml',
      ],
    )
      .argument('<partition>', 'name in the configuration')
      .option('--confirm <sha256>', 'use the new identity from now on; every other site must trust it first')
      .option('--destroy-old', 'destroy the old key pair; this cannot be undone')
      .option(
        '--pinned-at <site>',
        'a site that trusts the new identity, according to its operators; repeatable',
        collect,
        [],
      )
      .option(...AGENT_CONFIG_OPTION)
      .option(...JSON_OPTION)
      .addHelpText(
        'after',
        '\nNo private key moves. A new key pair is made in the other token, and every site trusts both for a while.\nFirst name `identityPartition` in agent.yaml and restart the agent. The agent continues with the old key.',
      )
      .action(async (name, { config: file, json, confirm: confirmed, destroyOld = false, pinnedAt }) => {
        const move = { config: loadAgentConfig(file), name, log: processLog(), confirmed, destroyOld, pinnedAt };
        const done = await moveIdentity(move);
        output({ json }).data(done, () => moveText(done, commandAt(file)));
      }),
  );
  for (const made of objectCommands()) partition.addCommand(made);
  partition.addCommand(
    command(
      'trust-domain-key',
      'bring trusted keys into the token as its security officer; needed after each new domain key',
      ['partition trust-domain-key main --officer-pin-file /run/credentials/officer.pin --config site-a/agent.yaml'],
    )
      .argument('<partition>', 'name in the configuration')
      .requiredOption('--officer-pin-file <file>', 'file with the PIN of the security officer; one attempt only')
      .option(...AGENT_CONFIG_OPTION)
      .option(...JSON_OPTION)
      .addHelpText(
        'after',
        '\nKeys with CKA_WRAP_WITH_TRUSTED replicate under a trusted key. Only the security officer can bring it into a token.\nDo this at every member and scratch partition after every new version of the domain key. `antipode status` lists the\npartitions that wait. The agent can keep running. Remove the file with the PIN afterwards.',
      )
      .action(async (name, { config: file, json, officerPinFile }) => {
        const config = loadAgentConfig(file);
        const { serial } = planTrust(config, name);
        const trusted = await trustDomainKeys({ config, name, officerPinFile, log: processLog() });
        output({ json }).data({ partition: name, serial, trusted }, () =>
          trusted.length === 0
            ? `partition ${name} waits for no trusted key`
            : trusted
                .map(
                  ({ group, version }) =>
                    `trusted key of domain key version ${version} of group ${group} is in the token`,
                )
                .join('\n'),
        );
      }),
  );
  for (const made of tokenKeyCommands()) partition.addCommand(made);
  partition.addCommand(formerFindCommand(), { hidden: true });
  partition.addCommand(formerTrustCommand(), { hidden: true });
  return partition;
}
