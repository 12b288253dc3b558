/** The steps of sharing a token key (steps.ts), each in a process of its own, so that no other one ever has that key. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AntipodeError, type ErrorCode, type ErrorDetails } from '@antipode/runtime';
import type { ConfirmedPartition, Grant, Request, Signed } from './messages.ts';
import type { SharingPartition } from './steps.ts';

export type SharingOrder =
  | { readonly step: 'request'; readonly partition: SharingPartition; readonly giver: ConfirmedPartition }
  | {
      readonly step: 'grant';
      readonly partition: SharingPartition;
      readonly request: Signed<Request>;
      readonly taker: ConfirmedPartition;
    }
  | {
      readonly step: 'accept';
      readonly partition: SharingPartition;
      readonly request: Signed<Request>;
      readonly grant: Signed<Grant>;
      readonly giver: ConfirmedPartition;
      readonly officerPinFile: string;
    };

export type FromSharing =
  | { readonly result: unknown }
  | {
      readonly error: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly details: ErrorDetails;
        readonly hint?: string | undefined;
      };
    };

type Order<Step extends SharingOrder['step']> = Omit<Extract<SharingOrder, { step: Step }>, 'step'>;

/** See {@link requestTokenKey}. */
export const requestSharing = (order: Order<'request'>): Promise<Signed<Request>> =>
  inProcess({ step: 'request', ...order }) as Promise<Signed<Request>>;

/** See {@link grantTokenKey}. */
export const grantSharing = (order: Order<'grant'>): Promise<Signed<Grant>> =>
  inProcess({ step: 'grant', ...order }) as Promise<Signed<Grant>>;

/** See {@link acceptTokenKey}. The name of the cloning domain. */
export const acceptSharing = (order: Order<'accept'>): Promise<Uint8Array> =>
  inProcess({ step: 'accept', ...order }) as Promise<Uint8Array>;

async function inProcess(order: SharingOrder): Promise<unknown> {
  const { environment } = order.partition.config;
  const child = fork(fileURLToPath(new URL('./process.ts', import.meta.url)), [String(process.pid)], {
    serialization: 'advanced',
    stdio: ['ignore', 2, 2, 'ipc'],
    execArgv: [],
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...environment },
  });
  const answered = Promise.withResolvers<FromSharing>();
  child.once('message', (message: FromSharing) => answered.resolve(message));
  child.once('error', (cause) => answered.reject(cause));
  child.once('exit', (code, signal) =>
    answered.reject(
      new AntipodeError('HSM_WORKER_LOST', `the process of the step ended (${signal ?? `exit code ${code}`})`),
    ),
  );
  child.send(order);
  const message = await answered.promise;
  if ('result' in message) return message.result;
  const { code, message: text, details, hint } = message.error;
  throw new AntipodeError(code, text, { details, hint });
}
