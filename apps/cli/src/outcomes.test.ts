import { type Operation, OperationSchema } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { captured, failedOver, outcomeText, reseated } from './outcomes.ts';

const DIGEST = 'ab'.repeat(32);
const ref = { epoch: 2n, generation: 9n, manifestDigest: fromHex(DIGEST) };
/** As a coordinator of this release tells it. The old text is there too, and says something else: nobody reads it. */
const told = (outcome: NonNullable<MessageInitShape<typeof OperationSchema>['outcome']>): Operation =>
  create(OperationSchema, { outcome, result: '{"epoch":1}' });
/** As a coordinator of an earlier release tells it. */
const toldBefore = (state: object): Operation => create(OperationSchema, { result: JSON.stringify(state) });

const CAPTURED = { epoch: 2, number: 9, manifestDigest: DIGEST, isNew: true, sealedObjects: 3 };
const FAILED_OVER = {
  from: 'a',
  to: 'b',
  epoch: 2,
  recoveryTimeMs: 1_500,
  proved: 7,
  lost: [{ epoch: 2, number: 9, manifestDigest: DIGEST }],
  excluded: [{ site: 'c', code: 'PIN_REFUSED' }],
  reason: 'operator',
};
const RESEATED = {
  activeSite: 'b',
  epoch: 4,
  seated: ['b', 'c'],
  leftAside: [{ site: 'a', code: 'SITE_UNREACHABLE' }],
};

describe('what an operation found', () => {
  it('is read from the typed field', () => {
    const generation = ref;
    expect(captured(told({ case: 'capture', value: { generation, isNew: true, sealedObjects: 3 } }))).toEqual(CAPTURED);
    expect(
      failedOver(
        told({
          case: 'failover',
          value: {
            fromSite: 'a',
            toSite: 'b',
            epoch: 2n,
            recoveryTimeMs: 1_500n,
            provedObjects: 7,
            lost: [ref],
            passedOver: [{ site: 'c', errorCode: 'PIN_REFUSED' }],
            reason: 'operator',
          },
        }),
      ),
    ).toEqual(FAILED_OVER);
    expect(
      reseated(
        told({
          case: 'reseat',
          value: {
            activeSite: 'b',
            epoch: 4n,
            seatedSites: ['b', 'c'],
            leftAside: [{ site: 'a', errorCode: 'SITE_UNREACHABLE' }],
          },
        }),
      ),
    ).toEqual(RESEATED);
  });

  it('is read from the text of a coordinator that does not fill the typed field', () => {
    expect(captured(toldBefore({ phase: 'captured', ...CAPTURED }))).toMatchObject(CAPTURED);
    expect(failedOver(toldBefore({ phase: 'complete', ...FAILED_OVER }))).toMatchObject(FAILED_OVER);
    expect(reseated(toldBefore({ phase: 'reseated', ...RESEATED }))).toMatchObject(RESEATED);
  });

  it('is one line for people, with digests in hexadecimal and numbers as numbers', () => {
    const typed = told({ case: 'capture', value: { generation: ref, isNew: true, sealedObjects: 3 } });
    expect(JSON.parse(outcomeText(typed))).toMatchObject({
      generation: { epoch: 2, generation: 9, manifestDigest: DIGEST },
      isNew: true,
      sealedObjects: 3,
    });
    expect(outcomeText(toldBefore({ phase: 'due' }))).toBe('{"phase":"due"}');
  });
});
