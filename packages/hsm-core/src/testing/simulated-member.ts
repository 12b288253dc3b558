/** A partition in memory with its identity, keyring and pins: a member without an agent. */
import { type Clock, type Prng, seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { distributeDomainKey, ExchangeResponder, type ExchangeTransport } from '../domain-key/enrol.ts';
import {
  type DomainKeyRecord,
  type IdentityRecord,
  initialiseIdentity,
  type Keyring,
  openKeyring,
  trustedKeyLabel,
} from '../domain-key/keyring.ts';
import type { OwnKeyRecord } from '../provider/provider.ts';
import { checkTagOf } from './simulated-crypto.ts';
import { type Interrupt, SimulatedHsm } from './simulated-hsm.ts';
import type { SimulatedSession } from './simulated-session.ts';

export class SimulatedMember {
  readonly hsm: SimulatedHsm;
  readonly prng: Prng;
  readonly clock: Clock;
  readonly domainKeys: DomainKeyRecord[] = [];
  /** CKA_IDs that were announced for own keys. */
  readonly announced: Uint8Array[] = [];
  readonly pins = new Set<string>();
  provider!: SimulatedSession;
  identity!: IdentityRecord;
  keyring!: Keyring;

  private constructor(serial: string, clock: Clock) {
    this.prng = seededPrng(serial);
    this.clock = clock;
    this.hsm = new SimulatedHsm({ serial, prng: this.prng, clock });
  }

  static async make(serial: string, { clock = new FakeClock() }: { clock?: Clock } = {}): Promise<SimulatedMember> {
    const member = new SimulatedMember(serial, clock);
    member.provider = member.hsm.open();
    member.identity = await initialiseIdentity({
      ...member,
      announce: (_serial, ckaId) => member.announced.push(ckaId),
    });
    await member.refresh();
    return member;
  }

  get serial(): string {
    return this.hsm.serial;
  }

  /** Finds the own keys again. */
  async refresh(): Promise<void> {
    this.keyring = await openKeyring(this);
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
  async reopen(interrupt?: Interrupt): Promise<void> {
    await this.provider.close();
    this.provider = this.hsm.open(interrupt);
    await this.refresh();
  }

  responder(): ExchangeResponder {
    return new ExchangeResponder({
      ...this,
      serial: this.serial,
      isPinned: (_group, identity) => this.pins.has(identity),
      holds: (group, version) => this.domainKeys.some((record) => record.group === group && record.version === version),
      announce: (ckaId) => this.announced.push(ckaId),
      remember: (record) => this.domainKeys.push(record),
    });
  }

  transport(): ExchangeTransport {
    const responder = this.responder();
    return {
      serial: this.serial,
      begin: (message) => responder.begin(message),
      complete: (message) => responder.complete(message),
    };
  }
}

/** Pins all members with each other and brings them one domain key version. The first member is its birthplace. */
export async function enrolTogether(
  members: readonly [SimulatedMember, ...SimulatedMember[]],
  { group, version }: { group: string; version: number },
): Promise<void> {
  for (const member of members) for (const peer of members) member.pins.add(peer.keyring.identity.sha256);
  const [birthplace] = members;
  const { failures } = await distributeDomainKey({
    ...birthplace,
    serial: birthplace.serial,
    group,
    version,
    members: members.map((member) => member.transport()),
    isPinned: (identity) => birthplace.pins.has(identity),
  });
  if (failures[0] !== undefined) throw failures[0].error;
  for (const member of members) await member.refresh();
}
