/**
 * Two SoftHSM tokens of one token key, each with its serial number, label and PIN, and a cloner on each. Both are in one
 * folder of tokens, so that one process has both.
 */
import { readFileSync } from 'node:fs';
import { type Cryptoki, loadCryptoki } from '@antipode/cryptoki';
import type { NativeCloner } from '@antipode/hsm-core';
import { findTokenFolder, openSoftHsmCloner, openTokenKey, rekeyToken } from '@antipode/hsm-core/testing';
import { Secret, systemClock } from '@antipode/runtime';
import { withoutPin } from './raw-token.ts';
import { makeToken, OFFICER_PIN, SOFTHSM_MODULE, type TestToken, temporaryFolder } from './tokens.ts';

export const PINS = { source: '77442200', standby: '00224477' } as const;

export interface PairedToken {
  readonly token: TestToken;
  readonly serial: string;
  /** Where its files are. */
  readonly path: string;
}

export interface OpenToken extends PairedToken {
  readonly session: bigint;
  readonly cloner: NativeCloner;
}

export const secret = (text: string) => (): Secret => new Secret(Buffer.from(text));
export const pinOf = ({ config }: TestToken) => secret(readFileSync(config.pinFile, 'utf8').trim());

/** With a cloner behind its provider. */
export const cloning = (token: TestToken): TestToken => ({
  ...token,
  config: { ...token.config, native: { kind: 'softhsm' } },
});

/** The tokens that have the token key of the first. */
export class CloningDomain {
  readonly first: PairedToken;

  constructor(first: PairedToken) {
    this.first = first;
  }

  async join({ token, serial }: PairedToken): Promise<void> {
    const newKey = openTokenKey(this.first.path, pinOf(this.first.token));
    await rekeyToken({
      folder: findTokenFolder({ serial, environment: token.environment }),
      clock: systemClock,
      newKey,
      readPin: pinOf(token),
      readOfficerPin: secret(OFFICER_PIN),
    });
    newKey.wipe();
  }
}

/** With its serial number and the folder of its files. */
export function paired(token: TestToken): PairedToken {
  const serial = withoutPin(token, (cryptoki) => {
    const infos = cryptoki.slots().map((slot) => cryptoki.tokenInfo(slot));
    return infos.find((info) => info.label === token.label)!.serial;
  });
  const { path } = findTokenFolder({ serial, environment: token.environment });
  return { token, serial, path };
}

export class SoftHsmPair {
  readonly folder = temporaryFolder('softhsm-pair');
  readonly source = this.#make('source');
  readonly standby = this.#make('standby');

  #make(label: keyof typeof PINS): PairedToken {
    return paired(makeToken(label, { folder: this.folder, pin: PINS[label] }));
  }

  /** Gives the standby the token key of the source. */
  share(): Promise<void> {
    return new CloningDomain(this.source).join(this.standby);
  }

  /** Both tokens in this process, for the time of `work`. */
  async open<T>(work: (open: { cryptoki: Cryptoki; source: OpenToken; standby: OpenToken }) => Promise<T>): Promise<T> {
    const before = process.env['SOFTHSM2_CONF'];
    process.env['SOFTHSM2_CONF'] = this.source.token.environment.SOFTHSM2_CONF;
    const cryptoki = loadCryptoki(SOFTHSM_MODULE);
    try {
      const [source, standby] = [this.source, this.standby].map((paired): OpenToken => {
        const slot = cryptoki.slots().find((one) => cryptoki.tokenInfo(one).serial === paired.serial)!;
        const session = cryptoki.openSession(slot);
        pinOf(paired.token)().expose((pin) => cryptoki.login(session, pin));
        const readPin = pinOf(paired.token);
        const { serial } = paired;
        const { stateFolder } = paired.token.config;
        return {
          ...paired,
          session,
          cloner: openSoftHsmCloner({ cryptoki, session, serial, clock: systemClock, readPin, stateFolder }),
        };
      }) as [OpenToken, OpenToken];
      return await work({ cryptoki, source, standby });
    } finally {
      cryptoki.finalize();
      if (before === undefined) delete process.env['SOFTHSM2_CONF'];
      else process.env['SOFTHSM2_CONF'] = before;
    }
  }

  remove(): void {
    this.source.token.remove();
  }
}
