/** A member in memory. */
import { type Clock, seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { type DomainKeyRecord, trustedKeyLabel } from '../domain-key/keyring.ts';
import type { OwnKeyRecord } from '../provider/provider.ts';
import { Member } from './member.ts';
import { checkTagOf } from './simulated-crypto.ts';
import { type Interrupt, SimulatedHsm } from './simulated-hsm.ts';
import type { SimulatedSession } from './simulated-session.ts';

export class SimulatedMember extends Member<SimulatedSession> {
  readonly hsm: SimulatedHsm;

  private constructor(serial: string, clock: Clock) {
    super({ clock, prng: seededPrng(serial) });
    this.hsm = new SimulatedHsm({ serial, prng: this.prng, clock });
  }

  static async make(serial: string, { clock = new FakeClock() }: { clock?: Clock } = {}): Promise<SimulatedMember> {
    const member = new SimulatedMember(serial, clock);
    await member.initialise();
    return member;
  }

  protected override async openProvider(): Promise<SimulatedSession> {
    return this.hsm.open();
  }

  /** Plants the trusted key of a version, as the security officer does. Members of one group give the same `value`. */
  async trust(record: DomainKeyRecord, value: Uint8Array): Promise<OwnKeyRecord> {
    const ckaId = this.prng.bytes(16);
    const attributes = { label: Buffer.from(trustedKeyLabel(record)), id: ckaId, sensitive: true, extractable: false };
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
