import { OperationSchema } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { failureText, operationTable, operationText } from './operation.ts';

const FAILURE = {
  code: 'HSM_REFUSED',
  message: 'the HSM refused C_UnwrapKey',
  site: 'b',
  returnValue: 'CKR_DEVICE_ERROR',
  atMs: BigInt(Date.UTC(2026, 0, 2)),
  requestId: 'abc.3',
};
const operation = (failure: Partial<typeof FAILURE> | undefined = {}) =>
  create(OperationSchema, {
    id: '0123456789',
    kind: 'replication',
    group: 'payments',
    site: 'b',
    phase: 'applying',
    status: 'open',
    attempts: 3,
    errorCode: 'HSM_REFUSED',
    errorMessage: 'no',
    hint: 'Look.',
    result: '{}',
    ...(failure === undefined ? {} : { failure: { ...FAILURE, ...failure } }),
  });

it('a failure says what, where, when, what the device answered, and by which id the logs have it', () => {
  expect(failureText(operation())).toBe(
    '[HSM_REFUSED] the HSM refused C_UnwrapKey (CKR_DEVICE_ERROR), at site b, 2026-01-02T00:00:00.000Z, request abc.3',
  );
  expect(failureText(operation({ returnValue: '', site: '' }))).toContain('C_UnwrapKey, at the coordinator');
  const said = 'the HSM answered CKR_DEVICE_ERROR';
  expect(failureText(operation({ message: said })).match(/CKR_DEVICE_ERROR/g)).toHaveLength(1);
});

it('an operation that has failed shows its cause and what to do; one that is well shows neither', () => {
  expect(operationText(operation())).toContain('request abc.3\n  Look.');
  const well = create(OperationSchema, { id: '1', kind: 'capture', result: '{}' });
  expect(operationText(well).split('\n')).toHaveLength(3);
  expect(operationTable([operation()])).toMatch(
    /01234567 +replication +payments +b +applying +open +3 .*CKR_DEVICE_ERROR/,
  );
});

it('a failover shows what the operator gave up, and what the target could not fetch', () => {
  const ref = (generation: bigint) => ({ epoch: 2n, generation, manifestDigest: fromHex('ab'.repeat(32)) });
  const value = { fromSite: 'a', accepted: [ref(8n)], unfetched: ref(9n), unfetchedFrom: ['c'] };
  const shown = operationText(
    create(OperationSchema, { id: '1', kind: 'failover', outcome: { case: 'failover', value } }),
  );
  expect(JSON.parse(shown.split('\n').at(-1)!)).toMatchObject({
    accepted: [{ epoch: 2, generation: 8, manifestDigest: 'ab'.repeat(32) }],
    unfetched: { epoch: 2, generation: 9 },
    unfetchedFrom: ['c'],
  });
});
