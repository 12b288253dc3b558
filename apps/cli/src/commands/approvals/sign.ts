import { spokenDigest } from '@antipode/operator';
import { isName, operatorKeyFingerprint, operatorKeyText, verifyApproval } from '@antipode/protocol';
import { AntipodeError, systemClock, writeFileDurably } from '@antipode/runtime';
import { ApprovalRules, loadAgentConfig } from '@antipode/site-agent';
import type { Command } from 'commander';
import { readApprovalFile } from '../../approvals/approval-file.ts';
import { signWith, useOperatorKey } from '../../approvals/operator-key.ts';
import { readSignable } from '../../approvals/signable-file.ts';
import { confirm } from '../../confirm.ts';
import { AGENT_CONFIG_OPTION, command, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';

export function showCommand(): Command {
  return command('show', 'show what a file asks operators to sign', ['approve show night.json'])
    .argument('<file>', 'the approval, or the list of revoked certificates')
    .option(...JSON_OPTION)
    .action((path, options) => {
      const file = readSignable(path);
      const signedBy = file.signatures.map(({ operator }) => operator);
      output(options).data({ digest: file.digest, request: file.shown, signedBy }, () => file.lines.join('\n'));
    });
}

export function signCommand(): Command {
  return command('sign', 'sign an approval, or a list of revoked certificates; nothing is sent anywhere', [
    'approve sign night.json --as bob --key bob.pem',
    "approve sign night.json --as bob --key 'pkcs11:token=bob;object=approvals?module-path=/usr/lib/softhsm/libsofthsm2.so' --pin-file pin",
  ])
    .argument('<file>', 'the approval, or the list')
    .requiredOption('--as <name>', 'your name in the configurations of the agents')
    .requiredOption('--key <key>', 'your private key: a PKCS#8 file, or a PKCS#11 URI')
    .option('--pin-file <file>', 'file with the PIN of the token, or the passphrase of the key file')
    .option('--yes', 'do not ask for confirmation')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nRead what it shows. By telephone, compare the digits with the operator who asks. The signature is added to the file.',
    )
    .action(async (path, options) => {
      const out = output(options);
      const file = readSignable(path);
      for (const line of file.lines) out.note(line);
      if (!isName(options.as))
        throw new AntipodeError('USAGE', `--as must be a name of an operator, found "${options.as}"`, {
          details: { field: 'as' },
        });
      if (!options.yes) await confirm(...file.confirmation);
      const signature = await signWith(options, file.bytes);
      const signatures = [
        ...file.signatures.filter(({ operator }) => operator !== options.as),
        { operator: options.as, signature },
      ];
      writeFileDurably(path, file.textWith(signatures));
      const signedBy = signatures.map(({ operator }) => operator);
      out.data(
        { file: path, digest: file.digest, signedBy },
        () => `${file.what} ${spokenDigest(file.digest)} is signed by ${signedBy.join(', ')}`,
      );
    });
}

export function verifyCommand(): Command {
  return command('verify', 'judge an approval as the agent of this site does', [
    'approve verify night.json --config site-b/agent.yaml',
  ])
    .argument('<file>', 'the approval')
    .option(...AGENT_CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nSignatures, number of operators and dates are checked. Only the agent can say whether it was used before, and whether\nit covers an order.',
    )
    .action((path, options) => {
      const file = readApprovalFile(path);
      const { site, approvals } = loadAgentConfig(options.config);
      const policy = new ApprovalRules(approvals).of(file.parsed.group);
      if (policy === undefined)
        throw new AntipodeError('CONFIG_INVALID', `site ${site} guards nothing: its configuration has no approvals`, {
          details: { path: options.config },
          hint: 'Add an `approvals` section to agent.yaml (docs/howto/approvals.md).',
        });
      const { approvedBy, digest } = verifyApproval(file, policy, systemClock.wallMs());
      output(options).data(
        { digest, approvedBy, requestedBy: file.parsed.requestedBy, required: policy.required },
        () => `Approval ${spokenDigest(digest)} counts at site ${site}: approved by ${approvedBy.join(', ')}`,
      );
    });
}

export function publicKeyCommand(): Command {
  return command('public-key', 'print the public half of a key, as agent.yaml wants it', [
    'approve public-key --key alice.pem',
  ])
    .requiredOption('--key <key>', 'a PKCS#8 file, or a PKCS#11 URI')
    .option('--pin-file <file>', 'file with the PIN of the token, or the passphrase of the key file')
    .option(...JSON_OPTION)
    .action(async (options) => {
      const { key } = await useOperatorKey(options, ({ publicKey }) => ({ key: publicKey }));
      if (key === undefined)
        throw new AntipodeError('NOT_FOUND', 'the token does not show the public half of the key', {
          details: { field: 'key' },
          hint: 'Bring a public key object with the CKA_ID of the private key into the token.',
        });
      output(options).data({ key: operatorKeyText(key), sha256: operatorKeyFingerprint(key) }, () =>
        operatorKeyText(key),
      );
    });
}
