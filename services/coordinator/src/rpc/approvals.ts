/** Approvals of operators: kept here until an order needs one, and shown with where agents have used them. */
import {
  APPROVAL_SKEW_MS,
  approvalDigest,
  type Handlers,
  type OperatorService,
  parseApprovalBytes,
  type RecordedApprovalSchema,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type ApprovalRecord,
  type ApprovalUseRecord,
  readApprovals,
  readApprovalUses,
  recordApproval,
} from '../store/tables/approvals.ts';
import type { RpcPorts } from './ports.ts';

type ApprovalHandlers = Pick<Handlers<typeof OperatorService>, 'submitApproval' | 'listApprovals'>;

/** More than any list of operators has. */
const SIGNATURES_MAX = 64;

export function approvalHandlers({ store, election, cache, clock, context, timeline }: RpcPorts): ApprovalHandlers {
  const toWallMs = (atMs: number): number => timeline.toWallMs(atMs);
  return {
    submitApproval: async ({ approval }, { identity }) => {
      if (approval === undefined || approval.signatures.length > SIGNATURES_MAX)
        throw new AntipodeError(
          'REQUEST_INVALID',
          `approval is missing, or has more than ${SIGNATURES_MAX} signatures`,
          {
            details: { field: 'approval' },
          },
        );
      const bytes = new Uint8Array(approval.request);
      const request = parseApprovalBytes(bytes);
      const expiresMs = Date.parse(request.expires);
      if (context.ports.calendarMs() >= expiresMs + APPROVAL_SKEW_MS)
        throw new AntipodeError('APPROVAL_EXPIRED', `the approval expired at ${request.expires}`, {
          details: { expires: request.expires },
        });
      const { group, action } = request;
      const digest = approvalDigest(bytes);
      const recorded = await store.write(election.require(), async (trx, record) => {
        const kept = await recordApproval(trx, {
          digest,
          group,
          action,
          request: Buffer.from(bytes).toString(),
          signatures: approval.signatures.map(({ operator, signature }) => ({
            operator,
            signature: new Uint8Array(signature),
          })),
          submittedBy: identity.name,
          submittedMs: clock.wallMs(),
          expiresMs,
        });
        const signedBy = [...new Set(kept.signatures.map(({ operator }) => operator))].join(' ');
        const { requestedBy, nonce } = request;
        const details = { action, digest, nonce, requestedBy, signedBy, operator: identity.name };
        record({ kind: 'approval-submitted', group, details });
        return kept;
      });
      // Answers to heartbeats name the seats that are taken away, and read the cache.
      await cache.refresh();
      return { approval: approvalMessage(recorded, { uses: [], toWallMs }) };
    },

    listApprovals: async ({ group }) => {
      const of = group === '' ? {} : { group };
      const [approvals, uses] = await store.snapshot(async (db) => [
        await readApprovals(db, of),
        await readApprovalUses(db, of),
      ]);
      return {
        approvals: approvals.map((one) =>
          approvalMessage(one, { uses: uses.filter(({ digest }) => digest === one.digest), toWallMs }),
        ),
      };
    },
  };
}

function approvalMessage(
  { digest, request, signatures, submittedBy, submittedMs }: ApprovalRecord,
  { uses, toWallMs }: { uses: readonly ApprovalUseRecord[]; toWallMs: (atMs: number) => number },
): MessageInitShape<typeof RecordedApprovalSchema> {
  return {
    approval: {
      request: new Uint8Array(Buffer.from(request)),
      signatures: signatures.map(({ operator, signature }) => ({ operator, signature })),
    },
    digest,
    submittedBy,
    submittedMs: BigInt(toWallMs(submittedMs)),
    uses: uses.map(useMessage),
  };
}

export const useMessage = ({ site, operation, usedMs, ...use }: ApprovalUseRecord) => ({
  site,
  use: {
    digest: use.digest,
    group: use.group,
    action: use.action,
    operationId: operation,
    requestedBy: use.requestedBy,
    approvedBy: [...use.approvedBy],
    usedMs: BigInt(usedMs),
  },
});
