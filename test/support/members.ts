/** A partition with its provider and keyring, without an agent: what hsm-core needs of a member. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CKA_ID_BYTES,
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
  type TrustedKeyRecord,
  trustedKeyLabel,
} from '@antipode/hsm-core';
import { silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { type AnyToken, makeToken, OFFICER_PIN, type TestToken } from './tokens.ts';

export class TestMember<Token extends AnyToken = TestToken> {
  readonly token: Token;
  readonly domainKeys: DomainKeyRecord[] = [];
  /** CKA_IDs of own keys that were about to be made. */
  readonly announced: Uint8Array[] = [];
  /** Trusted keys that the security officer has not brought into the token yet. */
  readonly delivered: TrustedKeyRecord[] = [];
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
  static async on<Token extends AnyToken>(
    token: Token,
    { withReceivingKey = false, withOfficerKey = false } = {},
  ): Promise<TestMember<Token>> {
    const member = new TestMember(token);
    member.provider = await openPartition(member.token.config, { log: silentLog });
    member.identity = await initialiseIdentity({
      provider: member.provider,
      prng: systemPrng,
      announce: (_serial, ckaId) => member.announced.push(ckaId),
      withReceivingKey,
      withOfficerKey,
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
      remember: (record, trusted) => {
        this.domainKeys.push(record);
        if (trusted !== undefined) this.delivered.push(trusted);
      },
    });
  }

  /** The officer's step, in a worker of its own. */
  async trust(): Promise<void> {
    const deliveries = this.delivered.map((record) => {
      const ckaId = systemPrng.bytes(CKA_ID_BYTES);
      this.announced.push(ckaId);
      return { sealed: record.sealed, ckaId, label: trustedKeyLabel(record) };
    });
    const officerPinFile = join(this.token.folder, 'officer.pin');
    writeFileSync(officerPinFile, `${OFFICER_PIN}\n`, { mode: 0o600 });
    const worker = await openPartition(this.token.config, { log: silentLog });
    try {
      const tags = await worker.trustKeys({ identity: this.identity, officerPinFile, deliveries });
      for (const [index, { group, version }] of this.delivered.splice(0).entries()) {
        const at = this.domainKeys.findIndex((one) => one.group === group && one.version === version);
        const trusted = { ckaId: deliveries[index]!.ckaId, checkTag: tags[index]! };
        this.domainKeys[at] = { ...this.domainKeys[at]!, trusted };
      }
    } finally {
      await worker.close();
    }
    await this.refresh();
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
