/** The commands by which a SoftHSM token comes to share the token key of another (ADR 0056). */
import { acceptTokenKey, grantTokenKey, loadAgentConfig, requestTokenKey } from '@antipode/site-agent';
import type { Command } from 'commander';
import { confirm } from '../../confirm.ts';
import { AGENT_CONFIG_OPTION, command, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';

const PEER = 'SITE=SERIAL=SHA256, as `antipode partition show-identity` prints it there';

export const tokenKeyCommands = (): Command[] => [request(), grant(), accept()];

const request = (): Command =>
  command('request-token-key', 'ask for the token key of another SoftHSM token, so that keys can be cloned from it', [
    'partition request-token-key main --giver a=8592e31e316c1ea7=4f0c...e1 --out request.json --config site-b/agent.yaml',
  ])
    .argument('<partition>', 'name in the configuration')
    .requiredOption('--giver <peer>', `the partition that is asked: ${PEER}`)
    .requiredOption('--out <file>', 'where to write the request')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nUnextractable keys are cloned between SoftHSM tokens that share a token key. Run this at the standby, and carry the\nrequest to the site of the other token. It is not secret. A private key stays in the token until\n`accept-token-key`.',
    )
    .action(async (name, { config: file, json, giver, out }) => {
      await requestTokenKey({ config: loadAgentConfig(file), name, giver, out });
      output({ json }).data(
        { partition: name, request: out },
        () =>
          `the request is in ${out}\nRun at the site of the other partition:\n  antipode partition grant-token-key <partition> --request ${out} --taker <this partition> --out grant.json`,
      );
    });

const grant = (): Command =>
  command('grant-token-key', 'give the token key of a SoftHSM token to a partition that has asked for it', [
    'partition grant-token-key main --request request.json --taker b=0c11e0d1a2b3c4d5=9a2f...07 --out grant.json --config site-a/agent.yaml',
  ])
    .argument('<partition>', 'name in the configuration')
    .requiredOption('--request <file>', 'the request of the other partition')
    .requiredOption('--taker <peer>', `the partition that gets the key: ${PEER}`)
    .requiredOption('--out <file>', 'where to write the grant')
    .option('--yes', 'do not ask for confirmation')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nThe files and the PIN of the other token then open every key of this one. The grant has the key,\nencrypted for the private key that the other token made for this request. The agent can keep running.',
    )
    .action(async (name, { config: file, json, request: requestFile, taker, out, yes }) => {
      const said = output({ json });
      said.note(`Gives the token key of ${name} to ${taker}. This cannot be undone: a token keeps its key for ever.`);
      if (!yes) await confirm(name, 'the partition');
      await grantTokenKey({ config: loadAgentConfig(file), name, requestFile, taker, out });
      said.data(
        { partition: name, grant: out },
        () =>
          `the grant is in ${out}\nRun at the site that has asked:\n  antipode partition accept-token-key <partition> --request <its request> --grant ${out} --giver <this partition> --officer-pin-file <file>`,
      );
    });

const accept = (): Command =>
  command('accept-token-key', 'take over the token key of another SoftHSM token, with everything that is in this one', [
    'partition accept-token-key main --request request.json --grant grant.json --giver a=8592e31e316c1ea7=4f0c...e1 --officer-pin-file officer.pin --config site-b/agent.yaml',
  ])
    .argument('<partition>', 'name in the configuration')
    .requiredOption('--request <file>', 'the request that was made here')
    .requiredOption('--grant <file>', 'the grant of the other partition')
    .requiredOption('--giver <peer>', `the partition that has granted it: ${PEER}`)
    .requiredOption('--officer-pin-file <file>', 'file with the PIN of the security officer of this token')
    .option('--yes', 'do not ask for confirmation')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nStop the agent and every program that uses this token first. All objects of the token are encrypted again. Serial\nnumber, label, PINs and identity stay as they are. Afterwards start the agent, and delete both files.',
    )
    .action(
      async (name, { config: file, json, request: requestFile, grant: grantFile, giver, officerPinFile, yes }) => {
        const said = output({ json });
        said.note(`Encrypts every object of the token of ${name} again. No program may use this token now.`);
        if (!yes) await confirm(name, 'the partition');
        const config = loadAgentConfig(file);
        const accepted = await acceptTokenKey({ config, name, requestFile, grantFile, giver, officerPinFile });
        said.data(
          { partition: name, ...accepted },
          () =>
            `partition ${name} is in cloning domain ${accepted.cloningDomain}\nStart the agent, and delete both files.`,
        );
      },
    );
