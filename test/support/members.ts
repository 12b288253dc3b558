/** A partition with its provider and keyring, without an agent: what hsm-core needs of a member. */
import {
  type DomainKeyRecord,
  distributeDomainKey,
  ExchangeResponder,
  type ExchangeTransport,
  fingerprint,
  type HsmProvider,
  type IdentityRecord,
  initialiseIdentity,
  type Keyring,
  openKeyring,
  openPartition,
} from '@antipode/hsm-core';
import { silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { type AnyToken, makeToken, type TestToken } from './tokens.ts';

export class TestMember<Token extends AnyToken = TestToken> {
  readonly token: Token;
  readonly domainKeys: DomainKeyRecord[] = [];
  /** CKA_IDs of own keys that were about to be made. */
  readonly announced: Uint8Array[] = [];
  provider!: HsmProvider;
  identity!: IdentityRecord;
  keyring!: Keyring;
  pins = new Set<string>();

  constructor(token: Token) {
    this.token = token;
  }

  /** On a token of SoftHSM. */
  static make(label: string): Promise<TestMember> {
    return TestMember.on(makeToken(label));
  }

  /** A receiving key takes a second to make: only where it matters. */
  static async on<Token extends AnyToken>(token: Token, { withReceivingKey = false } = {}): Promise<TestMember<Token>> {
    const member = new TestMember(token);
    member.provider = await openPartition(member.token.config, { log: silentLog });
    member.identity = await initialiseIdentity({
      provider: member.provider,
      prng: systemPrng,
      announce: (_serial, ckaId) => member.announced.push(ckaId),
      withReceivingKey,
    });
    await member.refresh();
    return member;
  }

  get serial(): string {
    return this.identity.serial;
  }

  get fingerprint(): string {
    return fingerprint(this.identity.publicHalf);
  }

  async refresh(): Promise<void> {
    this.keyring = await openKeyring(this);
  }

  async reopen(): Promise<void> {
    await this.provider.close();
    await this.open();
  }

  /** After its provider was closed or lost. */
  async open(): Promise<void> {
    this.provider = await openPartition(this.token.config, { log: silentLog });
    await this.refresh();
  }

  responder(): ExchangeResponder {
    return new ExchangeResponder({
      provider: this.provider,
      keyring: this.keyring,
      prng: systemPrng,
      clock: systemClock,
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

  async close(): Promise<void> {
    await this.provider.close();
    this.token.remove();
  }
}

/** Pins everybody with everybody and brings them one domain key version. */
export async function enrolTogether(
  members: readonly TestMember<AnyToken>[],
  { group, version }: { group: string; version: number },
): Promise<void> {
  for (const member of members) for (const peer of members) member.pins.add(peer.fingerprint);
  const [birthplace] = members;
  const { failures } = await distributeDomainKey({
    provider: birthplace!.provider,
    keyring: birthplace!.keyring,
    prng: systemPrng,
    serial: birthplace!.serial,
    group,
    version,
    members: members.map((member) => member.transport()),
    isPinned: (identity) => birthplace!.pins.has(identity),
  });
  if (failures.length > 0) throw failures[0]!.error;
  for (const member of members) await member.refresh();
}
