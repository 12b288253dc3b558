/** A member on a token, without an agent. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA_ID_BYTES, type HsmProvider, openPartition, trustedKeyLabel } from '@antipode/hsm-core';
import { Member, type OwnKeys } from '@antipode/hsm-core/testing';
import { silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { type AnyToken, makeToken, OFFICER_PIN, type TestToken } from './tokens.ts';

export { enrolTogether } from '@antipode/hsm-core/testing';

export class TestMember<Token extends AnyToken = TestToken> extends Member {
  readonly token: Token;

  constructor(token: Token) {
    super({ clock: systemClock, prng: systemPrng });
    this.token = token;
  }

  /** On a token of SoftHSM. */
  static make(label: string): Promise<TestMember> {
    return TestMember.on(makeToken(label));
  }

  /** A receiving key takes a second to make: only where it matters. */
  static async on<Token extends AnyToken>(token: Token, own: OwnKeys = {}): Promise<TestMember<Token>> {
    const member = new TestMember(token);
    await member.initialise(own);
    return member;
  }

  protected override openProvider(): Promise<HsmProvider> {
    return openPartition(this.token.config, { log: silentLog, clock: systemClock });
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
    const worker = await openPartition(this.token.config, { log: silentLog, clock: systemClock });
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

  async close(): Promise<void> {
    await this.provider.close();
    this.token.remove();
  }
}
