/** A session that has an operation open which an earlier call has left. */
import { expect, it } from 'vitest';
import { CKF, CKR_OK } from './constants.ts';
import type { Module } from './module.ts';
import { Operations } from './operations.ts';

const OPERATION_ACTIVE = 0x090;

function token({ cancels }: { cancels: boolean }) {
  const said: string[] = [];
  let isOpen = true;
  const module = {
    tryCall: (name: string): number => {
      said.push(name);
      if (name === 'C_Sign') isOpen = false;
      return name === 'C_SignInit' && isOpen ? OPERATION_ACTIVE : CKR_OK;
    },
    cancel: (_session: bigint, operations: number): boolean => {
      said.push(`cancel 0x${operations.toString(16)}`);
      if (cancels) isOpen = false;
      return cancels;
    },
  };
  return { said, module, operations: new Operations(module as unknown as Module) };
}

const begin = (operations: Operations, end: () => unknown): bigint => operations.begin('C_SignInit', 7n, [], end);

it('is cancelled where the module can, and nothing is signed to end it', () => {
  const { said, operations } = token({ cancels: true });
  expect(begin(operations, () => expect.unreachable('the operation was used'))).toBe(7n);
  expect(said).toEqual(['C_SignInit', `cancel 0x${CKF.SIGN.toString(16)}`, 'C_SignInit']);
});

it('is used up where the module cannot cancel', () => {
  const { said, operations, module } = token({ cancels: false });
  expect(begin(operations, () => module.tryCall('C_Sign'))).toBe(7n);
  expect(said.filter((name) => name.startsWith('C_'))).toEqual(['C_SignInit', 'C_Sign', 'C_SignInit']);
});
