import type { Operation } from '@antipode/protocol';
import type { Command } from 'commander';
import { withOperator } from '../../operator-connection.ts';
import { command, count, operatorCommand, readCommand } from '../../options/options.ts';
import { outcomeText } from '../../outcomes.ts';
import { output, table } from '../../output.ts';

/** What failed, where, what the device answered, when, and by which id the logs of both ends have it. */
export function failureText({ failure, errorMessage, errorCode }: Operation): string {
  if (failure === undefined) return errorMessage || errorCode;
  const { code, message, site, returnValue, atMs, requestId } = failure;
  const where = site === '' ? 'at the coordinator' : `at site ${site}`;
  const device = returnValue === '' || message.includes(returnValue) ? '' : ` (${returnValue})`;
  const when = new Date(Number(atMs)).toISOString();
  return `[${code}] ${message}${device}, ${where}, ${when}, request ${requestId}`;
}

export function operationTable(operations: readonly Operation[]): string {
  return table(
    ['OPERATION', 'KIND', 'GROUP', 'SITE', 'PHASE', 'STATUS', 'ATTEMPTS', 'UPDATED', 'ERROR'],
    operations.map((operation) => [
      operation.id.slice(0, 8),
      operation.kind,
      operation.group,
      operation.site || '-',
      operation.phase,
      operation.status,
      String(operation.attempts),
      new Date(Number(operation.updatedMs)).toISOString(),
      operation.failure?.returnValue || operation.errorCode || '-',
    ]),
  );
}

export function operationText(operation: Operation): string {
  const { errorCode, failure, hint } = operation;
  return [
    operationTable([operation]),
    ...(errorCode === '' && failure === undefined ? [] : [failureText(operation)]),
    ...(hint === '' ? [] : [`  ${hint}`]),
    outcomeText(operation),
  ].join('\n');
}

export function operationCommand(): Command {
  const group = command('operation', 'operations of the coordinator: under way, parked, failed').alias('operations');
  group.addCommand(
    readCommand('list', 'list operations, newest first', [
      'operation list',
      'operation list payments --limit 200 --json',
    ])
      .argument('[group]', 'replication group; by default all', '')
      .option('--limit <count>', 'how many at most', count, 50)
      .action(async (name, options) => {
        const { operations } = await withOperator(
          options.config,
          (operator) => operator.listOperations({ group: name, limit: options.limit }),
          { timeoutMs: options.timeout * 1_000 },
        );
        output(options).data(operations, () => operationTable(operations));
      }),
  );
  group.addCommand(
    readCommand('show', 'show one operation, with the cause of its last failure', ['operation show 1f1eacf8'])
      .argument('<id>', 'operation id, or its first digits')
      .action(async (operationId, options) => {
        const { operation } = await withOperator(
          options.config,
          (operator) => operator.getOperation({ operationId, waitMs: 0, seenPhase: '' }),
          { timeoutMs: options.timeout * 1_000 },
        );
        output(options).data(operation, () => operationText(operation!));
      }),
  );
  group.addCommand(
    operatorCommand('dismiss', 'take a failed or parked operation off the list of those that need a person', [
      'operation dismiss 1f1eacf8',
    ])
      .argument('<id>', 'operation id, or its first digits')
      .action(async (operationId, options) => {
        const { operation } = await withOperator(options.config, (operator) =>
          operator.dismissOperation({ operationId }),
        );
        output(options).data(operation, () => `${operation!.kind} ${operation!.id.slice(0, 8)} is dismissed`);
      }),
  );
  group.addCommand(
    operatorCommand('cancel', 'end an operation under way, if it has changed nothing yet', [
      'operation cancel 1f1eacf8',
    ])
      .argument('<id>', 'operation id, or its first digits')
      .action(async (operationId, options) => {
        const { operation } = await withOperator(options.config, (operator) =>
          operator.cancelOperation({ operationId }),
        );
        output(options).data(operation, () => `${operation!.kind} ${operation!.id.slice(0, 8)} is cancelled`);
      }),
  );
  return group;
}
