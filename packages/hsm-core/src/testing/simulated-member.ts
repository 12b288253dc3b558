/** A member in memory. */
import { type Clock, type Prng, seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import type { DomainKeyRecord, IdentityRecord, Keyring } from '../domain-key/keyring.ts';
import { markedId, trustedKeyLabel } from '../model/own-key-name.ts';
import type { OwnKeyRecord } from '../provider/provider.ts';
import { Member } from './member.ts';
import { checkTagOf } from './simulated-crypto.ts';
import { type Interrupt, SimulatedHsm, type StoredObject } from './simulated-hsm.ts';
import type { SimulatedSession } from './simulated-session.ts';

/** A member as it was at one moment. As many others as are wanted can begin from it. */
export interface MemberCopy {
  readonly objects: readonly StoredObject[];
  readonly identity: IdentityRecord;
  readonly domainKeys: readonly DomainKeyRecord[];
  /** Its handles are void. It tells the fingerprint until the copy has been opened. */
  readonly keyring: Keyring;
}

const copyOf = (objects: readonly StoredObject[]): StoredObject[] =>
  objects.map((object) => ({ ...object, attributes: { ...object.attributes } }));

export class SimulatedMember extends Member<SimulatedSession> {
  readonly hsm: SimulatedHsm;

  private constructor(serial: string, clock: Clock, prng: Prng = seededPrng(serial)) {
    super({ clock, prng });
    this.hsm = new SimulatedHsm({ serial, prng: this.prng, clock });
  }

  static async make(serial: string, { clock = new FakeClock() }: { clock?: Clock } = {}): Promise<SimulatedMember> {
    const member = new SimulatedMember(serial, clock);
    await member.initialise();
    return member;
  }

  copy(): MemberCopy {
    const { hsm, identity, domainKeys, keyring } = this;
    return { objects: copyOf(hsm.objects), identity, domainKeys: [...domainKeys], keyring };
  }

  /** Begins from a copy. It must be opened again before its keyring is used. */
  static from(
    { objects, identity, domainKeys, keyring }: MemberCopy,
    { clock, prng }: { clock: Clock; prng: Prng },
  ): SimulatedMember {
    const member = new SimulatedMember(identity.serial, clock, prng);
    member.hsm.objects.push(...copyOf(objects));
    member.domainKeys.push(...domainKeys);
    Object.assign(member, { identity, keyring, provider: member.hsm.open() });
    return member;
  }

  protected override async openProvider(): Promise<SimulatedSession> {
    return this.hsm.open();
  }

  /** Plants the trusted key of a version, as the security officer does. Members of one group give the same `value`. */
  async trust(record: DomainKeyRecord, value: Uint8Array): Promise<OwnKeyRecord> {
    const label = trustedKeyLabel(record);
    const ckaId = markedId({ identityId: this.identity.ckaId, label, random: this.prng.bytes(16) });
    const attributes = { label: Buffer.from(label), id: ckaId, sensitive: true, extractable: false };
    const key = { objectClass: 'secret-key', keyType: 'aes', value, sizeBits: 256, attributes } as const;
    this.hsm.objects.push(key);
    const trusted = { ckaId, checkTag: checkTagOf(key) };
    this.domainKeys.splice(this.domainKeys.indexOf(record), 1, { ...record, trusted });
    await this.refresh();
    return trusted;
  }

  /** Opens another session with other handles, as a restart of the worker does. */
  override async reopen(interrupt?: Interrupt): Promise<void> {
    await this.provider.close();
    this.provider = this.hsm.open(interrupt);
    await this.refresh();
  }
}
