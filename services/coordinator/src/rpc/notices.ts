/** Notices and their receivers, for operators. */
import type {
  Handlers,
  NoticeHeartbeatSchema,
  NoticeReceiverSchema,
  NoticeSchema,
  OperatorService,
} from '@antipode/protocol';
import { AntipodeError, hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { declarationOf } from '../notices/causes.ts';
import type { Notice } from '../notices/ledger.ts';
import { readNotices, readReceivers } from '../store/tables/notices.ts';
import type { RpcPorts } from './ports.ts';

type NoticeHandlers = Pick<Handlers<typeof OperatorService>, 'listNotices' | 'testReceivers'>;

export function noticeHandlers(ports: RpcPorts): NoticeHandlers {
  const { store, clock, notifying, prng } = ports;
  return {
    listNotices: async () => {
      const notices = await store.query(readNotices);
      return {
        notices: notices.map((notice) => noticeMessage(notice, clock.wallMs())),
        ...(await toldTo(ports)),
      };
    },

    testReceivers: async ({ receiver: name }) => {
      const all = notifying?.receivers.all ?? [];
      const chosen = name === '' ? all : all.filter(({ hook }) => hook.name === name);
      if (chosen.length === 0)
        throw new AntipodeError('NOT_FOUND', name === '' ? 'no receiver is configured' : `no receiver ${name}`, {
          details: { receiver: name },
          hint: 'Add it to `notifications` in coordinator.yaml, and restart the coordinator. docs/howto/notifications.md shows how.',
        });
      const id = hex(prng.bytes(8));
      const results = await Promise.all(
        chosen.map(async (receiver) => {
          const beganMs = clock.monotonicMs();
          const tried = await notifying!.receivers.test(receiver, id).then(
            ({ reason }) => ({ errorCode: '', message: reason }),
            (thrown: unknown) => {
              const error = AntipodeError.from(thrown);
              return { errorCode: error.code, message: error.message.replace(`[${error.code}] `, '') };
            },
          );
          const tookMs = BigInt(Math.round(clock.monotonicMs() - beganMs));
          return { receiver: receiver.hook.name, way: receiver.way, ...tried, tookMs };
        }),
      );
      return { results };
    },
  };
}

/** Receivers and heartbeats, and what they have not accepted. */
export async function toldTo({ store, clock, notifying }: Pick<RpcPorts, 'store' | 'clock' | 'notifying'>): Promise<{
  receivers: MessageInitShape<typeof NoticeReceiverSchema>[];
  heartbeats: MessageInitShape<typeof NoticeHeartbeatSchema>[];
}> {
  if (notifying === undefined || notifying.receivers.all.length + notifying.heartbeats.all.length === 0)
    return { receivers: [], heartbeats: [] };
  const { receivers, heartbeats } = notifying;
  const [notices, records] = await store.query(async (db) => [await readNotices(db), await readReceivers(db)]);
  const nowMs = clock.monotonicMs();
  const agoMs = (atMs: number): bigint => BigInt(Math.max(0, Math.round(nowMs - atMs)));
  return {
    receivers: receivers.all.map((receiver) => {
      const { name } = receiver.hook;
      const record = records.find((one) => one.name === name);
      const trouble = receivers.troubles.find((one) => one.receiver === name);
      return {
        name,
        way: receiver.way,
        severities: [...receiver.severities],
        groups: [...receiver.groups],
        undelivered: record === undefined ? 0 : receivers.dueOf(receiver, { notices, record }).length,
        trouble: trouble?.message.replace('[NOTICE_UNDELIVERED] ', '') ?? '',
        ...(trouble === undefined ? {} : { troubleAgeMs: agoMs(trouble.sinceMs) }),
      };
    }),
    heartbeats: heartbeats.states.map(({ name, acceptedMs, trouble }) => ({
      name,
      trouble,
      ...(acceptedMs === undefined ? {} : { acceptedAgeMs: agoMs(acceptedMs) }),
    })),
  };
}

function noticeMessage(notice: Notice, nowMs: number): MessageInitShape<typeof NoticeSchema> {
  const { id, kind, group, site, text, sinceMs, raisedMs, absentMs, resolvedMs } = notice;
  const { severity, runbook } = declarationOf(kind);
  const isOver = resolvedMs !== undefined;
  return {
    id,
    kind,
    severity,
    group,
    site,
    text,
    runbook,
    state: isOver ? 'resolved' : raisedMs === undefined ? 'waiting' : absentMs === undefined ? 'raised' : 'ending',
    ageMs: BigInt(Math.max(0, Math.round(nowMs - sinceMs))),
  };
}
