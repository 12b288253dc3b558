import { rejection, thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { markedId } from '../model/own-key-name.ts';
import { enrolTogether, SimulatedMember } from '../testing/index.ts';
import { initialiseIdentity, openKeyring } from './keyring.ts';

const GROUP = 'payments';

it('finds identity and domain keys after a restart, and counts them as its own', async () => {
  const member = await SimulatedMember.make('a');
  await enrolTogether([member], { group: GROUP, version: 1 });
  await enrolTogether([member], { group: GROUP, version: 2 });
  await member.reopen();
  const { keyring, hsm, provider } = member;
  expect(keyring.missing).toEqual([]);
  expect([1, 2].map((version) => keyring.domainKey(GROUP, version).version)).toEqual([1, 2]);
  expect(keyring.ownHandles.size).toBe(hsm.objects.length);
  expect((await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle))).toEqual([]);
});

it('throws IDENTITY_MISSING if the identity key is gone or is another one', async () => {
  const [member, other] = await Promise.all([SimulatedMember.make('a'), SimulatedMember.make('b')]);
  const swapped = { ...member.identity, publicHalf: other.identity.publicHalf };
  const details = { serial: 'a' };
  expect(await rejection(openKeyring({ ...member, identity: swapped }))).toMatchObject({
    code: 'IDENTITY_MISSING',
    details,
  });
  for (const object of member.hsm.labelled('antipode identity')) member.hsm.remove(object);
  expect(await rejection(member.refresh())).toMatchObject({ code: 'IDENTITY_MISSING', details });
});

it('reports a recorded domain key that is missing, and opens anyway', async () => {
  const member = await SimulatedMember.make('a');
  await enrolTogether([member], { group: GROUP, version: 1 });
  member.hsm.remove(member.hsm.labelled('antipode domain key payments 1')[0]!);
  await member.refresh();
  expect(member.keyring.missing).toEqual(member.domainKeys);
  expect(thrown(() => member.keyring.domainKey(GROUP, 1))).toMatchObject({
    code: 'DOMAIN_KEY_MISSING',
    details: { group: GROUP, version: 1 },
  });
});

it('recognises a domain key by its check tag, and not by its id', async () => {
  const member = await SimulatedMember.make('a');
  await enrolTogether([member], { group: GROUP, version: 1 });
  member.hsm.labelled('antipode domain key payments 1')[0]!.value = new Uint8Array(32);
  await member.refresh();
  expect(member.keyring.missing).toHaveLength(1);
});

it('gives no key of another group or version', async () => {
  const member = await SimulatedMember.make('a');
  await enrolTogether([member], { group: GROUP, version: 1 });
  for (const [group, version] of [
    [GROUP, 2],
    ['other', 1],
  ] as const)
    expect(thrown(() => member.keyring.domainKey(group, version)).code).toBe('DOMAIN_KEY_MISSING');
});

it('counts objects of an announced and unrecorded key as its own', async () => {
  const member = await SimulatedMember.make('a');
  await enrolTogether([member], { group: GROUP, version: 1 });
  member.domainKeys.length = 0;
  await initialiseIdentity({ ...member, announce: (_serial, ckaId) => member.announced.push(ckaId) });
  await member.refresh();
  expect(member.keyring.ownHandles.size).toBe(member.hsm.objects.length);
  expect(thrown(() => member.keyring.domainKey(GROUP, 1)).code).toBe('DOMAIN_KEY_MISSING');
});

describe('a domain key without a record', () => {
  const forgotten = async () => {
    const member = await SimulatedMember.make('a');
    for (const version of [1, 2]) await enrolTogether([member], { group: GROUP, version });
    const [, record] = member.domainKeys.splice(0);
    member.announced.length = 0;
    await member.refresh();
    return { member, record: record! };
  };

  it('is its own, and is reported with its check tag', async () => {
    const { member, record } = await forgotten();
    expect(member.keyring.ownHandles.size).toBe(member.hsm.objects.length);
    expect(member.keyring.unrecorded).toMatchObject([
      { kind: 'domain', version: 1 },
      { kind: 'domain', ...record },
    ]);
    member.domainKeys.push(record);
    await member.refresh();
    expect(member.keyring.unrecorded).toMatchObject([{ version: 1 }]);
  });

  it('is its own under an earlier identity only if that one is named', async () => {
    const { member } = await forgotten();
    const { ckaId } = member.identity;
    const identity = await initialiseIdentity({ ...member, announce: () => {} });
    const open = (otherIds: Uint8Array[]) => openKeyring({ ...member, identity, otherIds });
    expect((await open([])).unrecorded).toEqual([]);
    expect((await open([ckaId])).unrecorded).toHaveLength(2);
  });

  it('is taken for no version if it is half made, or one of two', async () => {
    const { member } = await forgotten();
    const [first, second] = [1, 2].map((version) => member.hsm.labelled(`antipode domain key ${GROUP} ${version}`)[0]!);
    delete first!.value;
    const label = `antipode domain key ${GROUP} 2`;
    const id = markedId({ identityId: member.identity.ckaId, label, random: new Uint8Array(16) });
    member.hsm.objects.push({ ...second!, attributes: { ...second!.attributes, id } });
    await member.refresh();
    expect(member.keyring.unrecorded).toEqual([]);
    expect(member.keyring.ownHandles.size).toBe(member.hsm.objects.length);
  });

  it('is an object of an application if its label was changed, or if it may leave the token', async () => {
    const { member } = await forgotten();
    const [first, second] = [1, 2].map((version) => member.hsm.labelled(`antipode domain key ${GROUP} ${version}`)[0]!);
    first!.attributes = { ...first!.attributes, label: Buffer.from(`antipode domain key ${GROUP} 3`) };
    second!.attributes = { ...second!.attributes, extractable: true };
    await member.refresh();
    expect(member.keyring.unrecorded).toEqual([]);
    expect(member.keyring.ownHandles.size).toBe(1);
  });
});

it('makes no identity key that was not announced', async () => {
  const member = await SimulatedMember.make('a');
  const count = member.hsm.objects.length;
  const failure = new Error('disk full');
  const announce = (): void => {
    throw failure;
  };
  await expect(initialiseIdentity({ ...member, announce })).rejects.toBe(failure);
  expect(member.hsm.objects).toHaveLength(count);
});
