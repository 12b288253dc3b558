/** Two operators have one SoftHSM token share the token key of another: by files, each confirmed at both sites. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  acceptSharing,
  type ConfirmedPartition,
  fingerprint,
  grantSharing,
  type IdentityRecord,
  openPartition,
  requestFrom,
  requestSharing,
  sharingTextOf,
} from '@antipode/hsm-core';
import { openTokenKey } from '@antipode/hsm-core/testing';
import { hex, lockFolder, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { acceptTokenKey, grantTokenKey, requestTokenKey } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { TestMember } from '../../support/members.ts';
import { type PairedToken, paired, pinOf } from '../../support/softhsm-pair.ts';
import { makeToken, OFFICER_PIN, type TestToken, temporaryFolder } from '../../support/tokens.ts';

interface Site extends PairedToken {
  readonly identity: IdentityRecord;
  readonly confirmed: ConfirmedPartition;
}

let source: Site;
let standby: Site;
let stranger: Site;
let officerPinFile: string;
let request: Awaited<ReturnType<typeof requestSharing>>;

async function site(label: string): Promise<Site> {
  const token: TestToken = makeToken(label, { folder: temporaryFolder(label), pin: `${label}-11223344` });
  const member = await TestMember.on(token);
  await member.provider.close();
  const { identity } = member;
  const confirmed = { serial: identity.serial, identitySha256: fingerprint(identity.publicHalf) };
  return { ...paired(token), identity, confirmed };
}

const partitionOf = ({ token: { config }, identity }: Site) => ({ config, identity });

beforeAll(async () => {
  [source, standby, stranger] = [await site('source'), await site('standby'), await site('stranger')];
  officerPinFile = join(standby.token.folder, 'officer.pin');
  writeFileSync(officerPinFile, `${OFFICER_PIN}\n`, { mode: 0o600 });
  standby.token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '01', '--label', 'was here before');
});

afterAll(() => {
  for (const one of [source, standby, stranger]) one?.token.remove();
});

beforeEach(async () => {
  request = requestFrom(
    sharingTextOf(await requestSharing({ partition: partitionOf(standby), giver: source.confirmed })),
  );
});

const grant = (from = source, taker = standby.confirmed, asked = request) =>
  grantSharing({ partition: partitionOf(from), request: asked, taker });

const accept = (granted: Awaited<ReturnType<typeof grant>>, giver = source.confirmed, asked = request) =>
  acceptSharing({ partition: partitionOf(standby), request: asked, grant: granted, giver, officerPinFile });

function domainOf({ path, token }: Site): string {
  const key = openTokenKey(path, pinOf(token));
  const domain = hex(key.domain());
  key.wipe();
  return domain;
}

it('is refused to whom the other site has not confirmed, or what it has not asked for', async () => {
  const before = domainOf(standby);
  const codes = async (call: Promise<unknown>) => (await rejection(call)).code;
  expect(await codes(grant(source, stranger.confirmed))).toBe('PEER_NOT_PINNED');
  // The request names the source, and nobody else may answer it.
  expect(await codes(grant(stranger, standby.confirmed))).toBe('TOKEN_KEY_REFUSED');
  const pretended = { ...request, serial: stranger.identity.serial, identity: stranger.identity.publicHalf };
  expect(await codes(grant(source, stranger.confirmed, pretended))).toBe('TOKEN_KEY_REFUSED');
  const point = new Uint8Array([...request.point.subarray(0, -1), request.point.at(-1)! ^ 1]);
  expect(await codes(grant(source, standby.confirmed, { ...request, point }))).toBe('TOKEN_KEY_REFUSED');

  const granted = await grant();
  expect(await codes(accept(granted, stranger.confirmed))).toBe('TOKEN_KEY_REFUSED');
  const sealed = new Uint8Array([...granted.sealed.subarray(0, -1), granted.sealed.at(-1)! ^ 1]);
  expect(await codes(accept({ ...granted, sealed }))).toBe('TOKEN_KEY_REFUSED');
  const other = requestFrom(
    sharingTextOf(await requestSharing({ partition: partitionOf(standby), giver: source.confirmed })),
  );
  expect(await codes(accept(granted, source.confirmed, other))).toBe('TOKEN_KEY_REFUSED');
  expect(domainOf(standby)).toBe(before);
});

it('needs the PIN of the security officer at the standby', async () => {
  const before = domainOf(standby);
  writeFileSync(officerPinFile, '99999999\n', { mode: 0o600 });
  try {
    expect((await rejection(accept(await grant()))).code).toBe('TOKEN_STORE_UNUSABLE');
  } finally {
    writeFileSync(officerPinFile, `${OFFICER_PIN}\n`, { mode: 0o600 });
  }
  expect(domainOf(standby)).toBe(before);
});

it('never shows the token key, neither in the files nor in the standby', async () => {
  const granted = await grant();
  const text = sharingTextOf(request) + sharingTextOf(granted);
  const key = openTokenKey(source.path, pinOf(source.token));
  key.expose((bytes) => expect(text).not.toContain(bytes.toString('hex')));
  key.wipe();
  expect(text).not.toContain('11223344');
});

it('makes one cloning domain of both by the steps of two operators, and keeps what is in the standby', async () => {
  const [requestFile, grantFile] = ['request.json', 'grant.json'].map((name) => join(standby.token.folder, name));
  const files = { requestFile: requestFile!, grantFile: grantFile!, officerPinFile };
  const [at, from] = [operatorAt(standby), operatorAt(source)];
  const steps = async () => {
    await requestTokenKey({ ...at, giver: peerOf(source), out: files.requestFile });
    await grantTokenKey({ ...from, ...files, taker: peerOf(standby), out: files.grantFile });
  };
  await steps();
  expect((await rejection(steps())).code).toBe('FILE_EXISTS');
  const accept = () => acceptTokenKey({ ...at, ...files, giver: peerOf(source) });
  const agent = lockFolder(at.config.dataFolder, { program: 'agent' });
  expect((await rejection(accept())).code).toBe('FILE_EXISTS');
  await agent.close();
  expect((await accept()).cloningDomain).toBe(domainOf(source));
  expect(domainOf(standby)).toBe(domainOf(source));
  expect(standby.token.tool('--list-objects')).toContain('was here before');
  // Nothing is left of the key for this request, so that the files are of no use any more.
  expect((await rejection(accept())).code).toBe('TOKEN_KEY_REFUSED');
  const provider = await openPartition(standby.token.config, { log: silentLog, clock: systemClock });
  expect(await provider.findIdentity(standby.identity)).toBeDefined();
  await provider.close();
});

const peerOf = ({ confirmed: { serial, identitySha256 } }: Site): string => `b=${serial}=${identitySha256}`;

/** A site with an agent's folder, in which the identity is recorded. */
function operatorAt({ token, identity }: Site) {
  const dataFolder = join(token.folder, 'agent');
  const journal = Journal.open(dataFolder, { site: token.label });
  journal.identities.announce(identity.serial, identity.ckaId);
  journal.identities.add('main', identity);
  journal.close();
  const { module, tokenLabel, pinFile } = token.config;
  const { environment } = token;
  const settings = { name: 'main', module, tokenLabel, pinFile, environment, role: 'member' as const };
  return { config: { site: token.label, dataFolder, partitions: [settings] }, name: 'main' };
}
