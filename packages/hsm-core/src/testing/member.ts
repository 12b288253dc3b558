/** A member without an agent, over any provider: a partition with its identity, its keyring and its pins. */
import type { Clock, Prng } from '@antipode/runtime';
import { distributeDomainKey } from '../domain-key/distribution.ts';
import type { ExchangeTransport } from '../domain-key/exchange.ts';
import {
  type DomainKeyRecord,
  type IdentityRecord,
  initialiseIdentity,
  type Keyring,
  openKeyring,
  type TrustedKeyRecord,
} from '../domain-key/keyring.ts';
import { ExchangeResponder } from '../domain-key/responder.ts';
import type { HsmProvider } from '../provider/provider.ts';

/** The keys beside the identity that `initialiseIdentity` makes on request. */
export interface OwnKeys {
  readonly withReceivingKey?: boolean;
  readonly withOfficerKey?: boolean;
}

export abstract class Member<Provider extends HsmProvider = HsmProvider> {
  readonly clock: Clock;
  readonly prng: Prng;
  readonly domainKeys: DomainKeyRecord[] = [];
  /** CKA_IDs of own keys that were about to be made. */
  readonly announced: Uint8Array[] = [];
  /** Trusted keys that the security officer has not brought into the token yet. */
  readonly delivered: TrustedKeyRecord[] = [];
  /** Identities of the members that this one trusts. */
  readonly pins = new Set<string>();
  provider!: Provider;
  identity!: IdentityRecord;
  keyring!: Keyring;

  constructor({ clock, prng }: { clock: Clock; prng: Prng }) {
    this.clock = clock;
    this.prng = prng;
  }

  get serial(): string {
    return this.identity.serial;
  }

  get fingerprint(): string {
    return this.keyring.identity.sha256;
  }

  /** Another session with the partition. */
  protected abstract openProvider(): Promise<Provider>;

  /** Opens the partition, and makes the identity in it. */
  async initialise(own: OwnKeys = {}): Promise<void> {
    this.provider = await this.openProvider();
    this.identity = await initialiseIdentity({
      provider: this.provider,
      prng: this.prng,
      announce: (_serial, ckaId) => this.announced.push(ckaId),
      ...own,
    });
    await this.refresh();
  }

  /** Finds the own keys again. */
  async refresh(): Promise<void> {
    this.keyring = await openKeyring(this);
  }

  /** After the provider was closed or lost. */
  async open(): Promise<void> {
    this.provider = await this.openProvider();
    await this.refresh();
  }

  /** Another session, with other handles, as after a restart of the worker. */
  async reopen(): Promise<void> {
    await this.provider.close();
    await this.open();
  }

  responder(): ExchangeResponder {
    return new ExchangeResponder({
      provider: this.provider,
      keyring: this.keyring,
      prng: this.prng,
      clock: this.clock,
      serial: this.serial,
      isPinned: (_group, identity) => this.pins.has(identity),
      holds: (group, version) => this.domainKeys.some((record) => record.group === group && record.version === version),
      announce: (ckaId) => this.announced.push(ckaId),
      remember: (record, trusted) => {
        this.domainKeys.push(record);
        if (trusted !== undefined) this.delivered.push(trusted);
      },
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

/** Pins everybody with everybody, and brings them one domain key version. It is born at the first. */
export async function enrolTogether(
  members: readonly Member[],
  { group, version }: { group: string; version: number },
): Promise<void> {
  const [birthplace] = members;
  if (birthplace === undefined) return;
  for (const member of members) for (const peer of members) member.pins.add(peer.fingerprint);
  const { failures } = await distributeDomainKey({
    provider: birthplace.provider,
    keyring: birthplace.keyring,
    prng: birthplace.prng,
    serial: birthplace.serial,
    group,
    version,
    members: members.map((member) => member.transport()),
    isPinned: (identity) => birthplace.pins.has(identity),
  });
  if (failures[0] !== undefined) throw failures[0].error;
  for (const member of members) await member.refresh();
}
