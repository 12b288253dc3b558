import type { ListNoticesResponse, NoticeHeartbeat, NoticeReceiver, ReceiverTest } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { withOperator } from '../../operator-connection.ts';
import { command, readCommand } from '../../options/options.ts';
import { duration, output, table } from '../../output.ts';

/** A mail server may take its time. The coordinator itself ends each attempt. */
const TEST_TIMEOUT_MS = 320_000;

export function notifyCommand(): Command {
  const notify = command('notify', 'what operators hear of, and whether it arrives');
  notify.addCommand(
    readCommand('list', 'what operators hear of now, through which receivers, and what has not arrived', [
      'notify list',
      'notify list --json',
    ]).action(async (options) => {
      const told = await withOperator(options.config, (operator) => operator.listNotices({}), {
        timeoutMs: options.timeout * 1_000,
      });
      output(options).data(told, () => noticesText(told));
    }),
  );
  notify.addCommand(
    readCommand('test', 'send a test to one receiver or to all, and say what came of it', [
      'notify test',
      'notify test pager',
    ])
      .argument('[receiver]', 'name in coordinator.yaml; by default all', '')
      .action(async (receiver, options) => {
        const { results } = await withOperator(options.config, (operator) =>
          operator.testReceivers({ receiver }, { timeoutMs: TEST_TIMEOUT_MS }),
        );
        output(options).data(results, () => testsText(results));
        const failed = results.filter(({ errorCode }) => errorCode !== '');
        if (failed.length > 0)
          throw new AntipodeError(
            'NOTICE_UNDELIVERED',
            `${failed.length} of ${results.length} receivers did not accept the test: ${failed.map((one) => one.receiver).join(', ')}`,
            { details: { receivers: failed.map((one) => one.receiver).join(',') } },
          );
      }),
  );
  return notify;
}

export function noticesText({ notices, receivers, heartbeats }: ListNoticesResponse): string {
  const listed =
    notices.length === 0
      ? 'Nothing to tell.'
      : table(
          ['SEVERITY', 'STATE', 'SINCE', 'NOTICE'],
          notices.map(({ severity, state, ageMs, text, runbook }) => [
            severity,
            state,
            duration(ageMs),
            `${text}\n${runbook}`,
          ]),
        );
  const whom =
    receivers.length === 0
      ? 'No receiver is configured, so nobody hears of anything (docs/howto/notifications.md).'
      : table(
          ['RECEIVER', 'WAY', 'HEARS OF', 'UNDELIVERED'],
          receivers.map(({ name, way, severities, groups, undelivered }) => [
            name,
            way,
            [severities.join(' '), groups.join(' ')].filter((part) => part !== '').join('\n'),
            String(undelivered),
          ]),
        );
  const beats =
    heartbeats.length === 0
      ? []
      : [
          table(
            ['HEARTBEAT', 'LAST ACCEPTED'],
            heartbeats.map(({ name, acceptedAgeMs }) => [
              name,
              acceptedAgeMs === undefined ? 'never' : `${duration(acceptedAgeMs)} ago`,
            ]),
          ),
        ];
  return [listed, whom, ...beats, ...undeliveredLines({ receivers, heartbeats })].join('\n\n');
}

const testsText = (results: readonly ReceiverTest[]): string =>
  table(
    ['RECEIVER', 'WAY', 'RESULT', 'TOOK', 'ANSWER'],
    results.map(({ receiver, way, errorCode, message, tookMs }) => [
      receiver,
      way,
      errorCode === '' ? 'accepted' : 'failed',
      duration(tookMs),
      message || '-',
    ]),
  );

/** For `status` too: a receiver that is mute, and a heartbeat that does not go out. */
export function undeliveredLines({
  receivers,
  heartbeats,
}: {
  receivers: readonly NoticeReceiver[];
  heartbeats: readonly NoticeHeartbeat[];
}): string[] {
  return [
    ...receivers
      .filter(({ trouble }) => trouble !== '')
      .map(({ name, trouble, troubleAgeMs, undelivered }) => {
        const count = undelivered === 1 ? '1 notice' : `${undelivered} notices`;
        return `Receiver ${name} has accepted nothing for ${duration(troubleAgeMs)}; ${count} not delivered. ${trouble}\n  Run \`antipode notify test ${name}\` after each change.`;
      }),
    ...heartbeats
      .filter(({ trouble }) => trouble !== '')
      .map(({ name, trouble }) => `Heartbeat ${name} does not go out: ${trouble}.`),
  ];
}
