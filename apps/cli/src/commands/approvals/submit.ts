import { readApproval, spokenDigest } from '@antipode/operator';
import type { RecordedApproval } from '@antipode/protocol';
import { systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { readApprovalFile } from '../../approvals/approval-file.ts';
import { withOperator } from '../../operator-connection.ts';
import { operatorCommand, readCommand } from '../../options/options.ts';
import { output, table } from '../../output.ts';

export function submitCommand(): Command {
  return operatorCommand('submit', 'bring an approval to the coordinator, before it is needed', [
    'approve submit night.json',
  ])
    .argument('<file>', 'the approval')
    .addHelpText(
      'after',
      '\nThe coordinator keeps it and sends it with orders that agents guard. It decides nothing: each agent judges it.\nSignatures of several files for one request are put together.',
    )
    .action(async (path, options) => {
      const { request, signatures, digest } = readApprovalFile(path);
      const { approval } = await withOperator(options.config, (operator) =>
        operator.submitApproval({ approval: { request, signatures: [...signatures] } }),
      );
      const names = approval?.approval?.signatures.map(({ operator }) => operator) ?? [];
      output(options).data(
        approval,
        () => `The coordinator has approval ${spokenDigest(digest)}, signed by ${names.join(', ')}`,
      );
    });
}

export function listCommand(): Command {
  return readCommand('list', 'list approvals on record, and where they were used', [
    'approve list',
    'approve list payments --json',
  ])
    .argument('[group]', 'replication group', '')
    .action(async (group, options) => {
      const { approvals } = await withOperator(options.config, (operator) => operator.listApprovals({ group }), {
        timeoutMs: options.timeout * 1_000,
      });
      const shown = approvals.map((one) => ({ ...one, ...readApproval(one) }));
      output(options).data(shown, () => approvalTable(approvals, systemClock.wallMs()));
    });
}

export function approvalTable(approvals: readonly RecordedApproval[], nowMs: number): string {
  if (approvals.length === 0) return 'none';
  return table(
    ['APPROVAL', 'ACTION', 'GROUP', 'REQUESTED BY', 'SIGNED BY', 'EXPIRES', 'USED'],
    approvals.map((one) => {
      const { request, digest, signers } = readApproval(one);
      const { action, group, requestedBy, expires } = request;
      return [
        spokenDigest(digest),
        action,
        group,
        requestedBy,
        signers.filter((name) => name !== requestedBy).join(' ') || '-',
        Date.parse(expires) < nowMs ? `${expires} (expired)` : expires,
        one.uses.map(({ site, use }) => `${site} ${new Date(Number(use?.usedMs ?? 0n)).toISOString()}`).join(', ') ||
          '-',
      ];
    }),
  );
}
