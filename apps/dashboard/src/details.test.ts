import { OperationSchema } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { lineOf } from './details.ts';

type Init = MessageInitShape<typeof OperationSchema>;
const capture = (generation: bigint, createdMs: bigint, isNew = true): Init => ({
  kind: 'capture',
  site: 'a',
  status: 'done',
  createdMs,
  outcome: { case: 'capture', value: { generation: { epoch: 1n, generation }, isNew, sealedObjects: 2 } },
});
const replication = (generation: bigint, site: string, updatedMs: bigint, status = 'done'): Init => ({
  kind: 'replication',
  site,
  status,
  updatedMs,
  outcome: { case: 'replication', value: { generation: { epoch: 1n, generation } } },
});
/** As the coordinator lists them: the newest first. */
const line = (...oldestFirst: Init[]) => lineOf(oldestFirst.map((one) => create(OperationSchema, one)).toReversed());

it('a line has each generation with the sites that acknowledged it, the oldest first', () => {
  expect(
    line(
      capture(1n, 10n),
      replication(1n, 'b', 14n),
      capture(2n, 20n),
      replication(2n, 'b', 21n),
      replication(2n, 'c', 29n),
    ),
  ).toEqual([
    { epoch: 1, number: 1, site: 'a', capturedAt: 10, sealed: 2, acknowledged: [{ site: 'b', at: 14 }] },
    {
      epoch: 1,
      number: 2,
      site: 'a',
      capturedAt: 20,
      sealed: 2,
      acknowledged: [
        { site: 'b', at: 21 },
        { site: 'c', at: 29 },
      ],
    },
  ]);
});

it('a line leaves out what found nothing new, and what is not acknowledged', () => {
  const shown = line(capture(1n, 10n), capture(1n, 15n, false), replication(1n, 'b', 12n, 'open'));
  expect(shown).toMatchObject([{ number: 1, capturedAt: 10, acknowledged: [] }]);
});

it('a line counts the first acknowledgement of a site', () => {
  const [shown] = line(capture(1n, 10n), replication(1n, 'b', 12n), replication(1n, 'b', 40n));
  expect(shown?.acknowledged).toEqual([{ site: 'b', at: 12 }]);
});
