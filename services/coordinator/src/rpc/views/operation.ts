/** Operations as operators see them. */
import type { OperationSchema } from '@antipode/protocol';
import { CATALOGUE, isErrorCode } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OrderFailure } from '../../model.ts';
import { KINDS, type Kinds } from '../../operations/kinds.ts';
import type { Intent } from '../../store/tables/intents.ts';

/** The time on the wall clock at a moment of the timeline. */
export type ToWall = (atMs: number) => number;

/** The catalogue's hint for a code; empty for any other text. */
export const catalogueHint = (errorCode: string): string => (isErrorCode(errorCode) ? CATALOGUE[errorCode].hint : '');

function failureMessage({ hint: _, ...failure }: OrderFailure, toWallMs: ToWall) {
  return { ...failure, atMs: BigInt(toWallMs(failure.atMs)) };
}

export function operationMessage(intent: Intent, toWallMs: ToWall): MessageInitShape<typeof OperationSchema> {
  const { id, kind, group, site, state, status, attempts, errorCode, errorMessage, createdMs, updatedMs } = intent;
  const { failure } = intent;
  return {
    id,
    kind,
    group,
    site,
    phase: state.phase,
    status,
    attempts,
    errorCode,
    errorMessage,
    hint: failure?.code === errorCode && failure.hint !== undefined ? failure.hint : catalogueHint(errorCode),
    createdMs: BigInt(toWallMs(createdMs)),
    updatedMs: BigInt(toWallMs(updatedMs)),
    ...(failure === undefined ? {} : { failure: failureMessage(failure, toWallMs) }),
    ...outcomeOf(intent),
    // For commands that do not know `outcome`.
    result: JSON.stringify(state, (_key, member: unknown) => (typeof member === 'bigint' ? Number(member) : member)),
  };
}

function outcomeOf({ kind, state }: Intent): Pick<MessageInitShape<typeof OperationSchema>, 'outcome'> {
  const kinds: Kinds = KINDS;
  try {
    const outcome = kinds[kind]?.outcome?.(state);
    return outcome === undefined ? {} : { outcome };
  } catch {
    // A state of another release. One of them must not take the list of all operations away; `result` still has it.
    return {};
  }
}
