/**
 * The process that gives a token the token key of the source: `node newcomer.ts <file of the order>`. It is what
 * `antipode softhsm-share` does in its last step.
 */
import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { findTokenFolder, openTokenKey, rekeyToken } from '@antipode/hsm-core/testing';
import { systemClock } from '@antipode/runtime';
import { secret } from '../../../support/softhsm-pair.ts';
import { OFFICER_PIN, USER_PIN } from '../../../support/tokens.ts';

export interface NewcomerOrder {
  readonly serial: string;
  readonly configFile: string;
  /** Of the source's token. */
  readonly sourcePath: string;
}

const { serial, configFile, sourcePath } = deserialize(readFileSync(process.argv[2] ?? '')) as NewcomerOrder;
const newKey = openTokenKey(sourcePath, secret(USER_PIN));
await rekeyToken({
  folder: findTokenFolder({ serial, environment: { SOFTHSM2_CONF: configFile } }),
  clock: systemClock,
  newKey,
  readPin: secret(USER_PIN),
  readOfficerPin: secret(OFFICER_PIN),
});
process.send?.({ domain: Buffer.from(newKey.domain()).toString('hex') });
process.disconnect();
