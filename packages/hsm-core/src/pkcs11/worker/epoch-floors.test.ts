import { rejection, thrown } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { changesToken, EpochFloors, underTenure } from './epoch-floors.ts';
import { METHODS, type Method, methodsBy } from './messages.ts';

const methods = Object.keys(METHODS) as Method[];
const writes = methods.filter(changesToken);

it('takes for a change what makes, hides or destroys an object of the token, and nothing else', () => {
  expect(writes.sort()).toEqual([
    'cloneNative',
    'create',
    'createData',
    'destroy',
    'destroyDomainKey',
    'generateIdentity',
    'generateOfficerKey',
    'generateReceivingKey',
    'hide',
    'installDomainKey',
    'putNative',
    'trustKeys',
    'unwrap',
    'unwrapSecrets',
  ]);
});

it.each(methods)('%s needs a tenure that is not over, if it changes the token', (method) => {
  const floors = new EpochFloors();
  const codeOf = (epoch?: bigint, group = 'g'): string | undefined => {
    try {
      floors.check(method, epoch === undefined ? undefined : { group, epoch });
      return undefined;
    } catch (refused) {
      return (refused as { code: string }).code;
    }
  };
  const ifWrite = (code: string): string | undefined => (changesToken(method) ? code : undefined);
  // As after a restart: the agent has said nothing yet, so nothing is changed.
  expect(codeOf(7n)).toBe(ifWrite('WRITE_UNFENCED'));
  floors.raise([]);
  expect([codeOf(), codeOf(7n)]).toEqual([ifWrite('WRITE_UNFENCED'), undefined]);
  floors.raise([{ group: 'g', epoch: 7n }]);
  expect([codeOf(6n), codeOf(7n), codeOf(8n), codeOf(1n, 'other')]).toEqual([
    ifWrite('EPOCH_STALE'),
    undefined,
    undefined,
    undefined,
  ]);
  // An epoch that comes late changes nothing.
  floors.raise([{ group: 'g', epoch: 5n }]);
  expect(codeOf(6n)).toBe(ifWrite('EPOCH_STALE'));
});

it('says what was refused, without anything of the object', () => {
  const floors = new EpochFloors();
  floors.raise([{ group: 'g', epoch: 7n }]);
  expect(thrown(() => floors.check('unwrap', { group: 'g', epoch: 6n }))).toMatchObject({
    code: 'EPOCH_STALE',
    details: { group: 'g', epoch: 6n, persisted: 7n, method: 'unwrap' },
  });
});

it('is looked at when a call begins, not when the provider was taken', async () => {
  const floors = new EpochFloors();
  floors.raise([{ group: 'g', epoch: 1n }]);
  const made: unknown[] = [];
  const provider = methodsBy(async (method) => made.push(method));
  const inTenure = underTenure({ ...provider, close: async () => {} }, floors, { group: 'g', epoch: 1n });
  await inTenure.create([]);
  floors.raise([{ group: 'g', epoch: 2n }]);
  expect((await rejection(inTenure.create([]))).code).toBe('EPOCH_STALE');
  await inTenure.look({});
  expect(made).toEqual(['create', 'look']);
});
