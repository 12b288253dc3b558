/**
 * Brings one generation to one standby. Acknowledged means: applied, read back with the same digest, every key used.
 *
 *   due -> applying -> verifying -> acknowledging -> acknowledged
 *              |           |-> withdrawing -> abandoned(DIGEST_MISMATCH | OBJECT_UNPROVEN)
 *              |-> abandoned(code)
 *
 * A standby that does not prove what it holds has acknowledged nothing any more, the generations before included: what it
 * holds of them is the same objects.
 */
import type { Failure, Proof, Resume, Step } from '../../model.ts';

interface Target {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly contentDigest: string;
}

export type ReplicationState =
  | ({ readonly phase: 'due' } & Target)
  | ({ readonly phase: 'applying' } & Target)
  | ({ readonly phase: 'verifying'; readonly appliedObjects: number; readonly pulledBlobs: number } & Target)
  | ({
      readonly phase: 'acknowledging';
      readonly appliedObjects: number;
      readonly pulledBlobs: number;
      readonly proved: number;
    } & Target)
  | ({
      readonly phase: 'acknowledged';
      readonly appliedObjects: number;
      readonly pulledBlobs: number;
      readonly proved: number;
    } & Target)
  | ({ readonly phase: 'withdrawing'; readonly code: string } & Target)
  | ({ readonly phase: 'abandoned'; readonly code: string } & Target);

export type ReplicationEffect =
  | ({ readonly type: 'apply' } & Target)
  | ({ readonly type: 'verify' } & Target)
  | ({ readonly type: 'acknowledge' } & Target)
  | ({ readonly type: 'withdraw'; readonly code: string } & Target);

export type ReplicationEvent =
  | Resume
  | Failure
  | { readonly type: 'applied'; readonly appliedObjects: number; readonly pulledBlobs: number }
  | { readonly type: 'verified'; readonly contentDigest: string; readonly proof: Proof }
  | { readonly type: 'acknowledged' }
  | { readonly type: 'withdrawn' };

export function decideReplication(
  state: ReplicationState,
  event: ReplicationEvent,
): Step<ReplicationState, ReplicationEffect> {
  const { epoch, number, contentDigest } = state;
  const target: Target = { epoch, number, contentDigest };
  if (state.phase === 'acknowledged' || state.phase === 'abandoned') return { state };
  if (event.type === 'failed') return { state: { phase: 'abandoned', code: event.code, ...target } };
  switch (state.phase) {
    case 'due':
    case 'applying':
      if (event.type !== 'applied')
        return { state: { phase: 'applying', ...target }, effect: { type: 'apply', ...target } };
      return {
        state: { phase: 'verifying', appliedObjects: event.appliedObjects, pulledBlobs: event.pulledBlobs, ...target },
        effect: { type: 'verify', ...target },
      };
    case 'verifying': {
      if (event.type !== 'verified') return { state, effect: { type: 'verify', ...target } };
      if (event.proof.failed > 0) return withdraw('OBJECT_UNPROVEN', target);
      if (event.contentDigest !== contentDigest) return withdraw('DIGEST_MISMATCH', target);
      return {
        state: { ...state, phase: 'acknowledging', proved: event.proof.proved },
        effect: { type: 'acknowledge', ...target },
      };
    }
    case 'acknowledging':
      if (event.type !== 'acknowledged') return { state, effect: { type: 'acknowledge', ...target } };
      return { state: { ...state, phase: 'acknowledged' } };
    case 'withdrawing':
      if (event.type !== 'withdrawn') return withdraw(state.code, target);
      return { state: { phase: 'abandoned', code: state.code, ...target } };
  }
}

function withdraw(code: string, target: Target): Step<ReplicationState, ReplicationEffect> {
  return { state: { phase: 'withdrawing', code, ...target }, effect: { type: 'withdraw', code, ...target } };
}
