/** The outcome of an operation, as operators receive it. Each kind has one function for it: <kind>/outcome.ts. */
import type { OperationSchema } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';

/** The member of the `oneof` for one kind. */
export type Outcome = NonNullable<MessageInitShape<typeof OperationSchema>['outcome']>;

/** A generation by its names. An older state may lack a digest that was added since. */
export function generationNames(one: {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly manifestDigest?: string | undefined;
  readonly contentDigest?: string | undefined;
}) {
  const { epoch, number, manifestDigest = '', contentDigest = '' } = one;
  return { epoch, generation: number, manifestDigest: fromHex(manifestDigest), contentDigest: fromHex(contentDigest) };
}

/** Sites that something did not work at. */
export const siteErrors = (all: readonly { readonly site: string; readonly code: string }[]) =>
  all.map(({ site, code }) => ({ site, errorCode: code }));
