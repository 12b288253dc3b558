/** The devices that the attacks are tried on. Another one is another entry here, with its column in outcomes.ts. */
import { CKM } from '@antipode/cryptoki';
import type { Protection } from '@antipode/hsm-core';
import { it } from 'vitest';
import { makeNssToken, NSS_UNENFORCED } from '../../support/devices/nss-tokens.ts';
import { TestMember } from '../../support/members.ts';
import { type AnyToken, makeToken } from '../../support/tokens.ts';
import { ATTACKS, type AttackId, type DeviceName, type Outcome } from '../outcomes.ts';

export interface AttackDevice {
  readonly name: DeviceName;
  /** Where operators read about it. */
  readonly page: string;
  /** Makes a fresh token; its configuration names the module, and the environment that the module reads. */
  makeToken(label: string): AnyToken;
  /** The number that RFC 5649 has here. */
  readonly keyWrap: number;
  /** Mechanisms without integrity, and whether the token unwraps by them. */
  readonly malleableWraps: ReadonlyMap<number, boolean>;
  /** The protections that the token is known not to enforce. */
  readonly unenforced: readonly Protection[];
  /** A second key of a class under the CKA_ID of another takes its place. */
  readonly keepsOnePerId: boolean;
  /** Its answers to a forbidden use of a key, and to a change of an unchangeable object. */
  readonly notPermitted: readonly string[];
  readonly notModifiable: string;
}

export const DEVICES: readonly AttackDevice[] = [
  {
    name: 'softhsm',
    page: 'docs/devices/softhsm2.md',
    makeToken,
    keyWrap: CKM.AES_KEY_WRAP_PAD,
    malleableWraps: new Map([CKM.AES_ECB, CKM.AES_CBC, CKM.AES_CTR, CKM.AES_CBC_PAD].map((type) => [type, false])),
    unenforced: [],
    keepsOnePerId: false,
    notPermitted: ['CKR_KEY_FUNCTION_NOT_PERMITTED'],
    notModifiable: 'CKR_ACTION_PROHIBITED',
  },
  {
    name: 'nss',
    page: 'docs/devices/nss-softokn.md',
    makeToken: makeNssToken,
    keyWrap: CKM.AES_KEY_WRAP_KWP,
    malleableWraps: new Map([
      [CKM.AES_ECB, true],
      [CKM.AES_CBC, true],
      [CKM.AES_CTR, false],
    ]),
    unenforced: NSS_UNENFORCED,
    keepsOnePerId: true,
    notPermitted: ['CKR_KEY_TYPE_INCONSISTENT', 'CKR_KEY_FUNCTION_NOT_PERMITTED'],
    notModifiable: 'CKR_ATTRIBUTE_READ_ONLY',
  },
];

export type Member = TestMember<AnyToken>;

/** A member on a device, with its own keys and nobody pinned. */
export const makeMember = ({ makeToken: make }: AttackDevice, label: string): Promise<Member> =>
  TestMember.on(make(label), { withReceivingKey: true });

/** One attack. It first shows that it works without an obstacle, then reports its outcome here. */
export function attack(device: AttackDevice, id: AttackId, attempt: () => Promise<Outcome>): void {
  const { title, outcomes } = ATTACKS[id];
  it(`${outcomes[device.name]}: ${title}`, async ({ expect }) => {
    expect(await attempt()).toBe(outcomes[device.name]);
  });
}
