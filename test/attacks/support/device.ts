/** The devices that the attacks are tried on. A second one is a second entry here, with its column in outcomes.ts. */
import { initialiseIdentity, openPartition } from '@antipode/hsm-core';
import { silentLog, systemPrng } from '@antipode/runtime';
import { it } from 'vitest';
import { CKM } from '../../../packages/hsm-core/src/pkcs11/constants.ts';
import { TestMember } from '../../support/members.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';
import { ATTACKS, type AttackId, type DeviceName, type Outcome } from '../outcomes.ts';

export interface AttackDevice {
  readonly name: DeviceName;
  /** Where operators read about it. */
  readonly page: string;
  /** Makes a fresh token; its configuration names the module, and the environment that the module reads. */
  makeToken(label: string): TestToken;
  /** The number that RFC 5649 has here. */
  readonly keyWrap: number;
  /** A mechanism that wraps and unwraps without integrity, where there is one. */
  readonly malleableWrap: number | undefined;
}

export const DEVICES: readonly AttackDevice[] = [
  {
    name: 'softhsm',
    page: 'docs/devices/softhsm2.md',
    makeToken,
    keyWrap: CKM.AES_KEY_WRAP_PAD,
    malleableWrap: undefined,
  },
];

/** A member on a device, with its own keys and nobody pinned. */
export async function makeMember({ makeToken: make }: AttackDevice, label: string): Promise<TestMember> {
  const member = new TestMember(make(label));
  member.provider = await openPartition(member.token.config, { log: silentLog });
  member.identity = await initialiseIdentity({
    provider: member.provider,
    prng: systemPrng,
    announce: (_serial, ckaId) => member.announced.push(ckaId),
  });
  await member.refresh();
  return member;
}

/** One attack: shows first that it works where nothing stands in its way, then says what became of it with us. */
export function attack(device: AttackDevice, id: AttackId, attempt: () => Promise<Outcome>): void {
  const { title, outcomes } = ATTACKS[id];
  it(`${outcomes[device.name]}: ${title}`, async ({ expect }) => {
    expect(await attempt()).toBe(outcomes[device.name]);
  });
}
