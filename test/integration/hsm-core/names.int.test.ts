/**
 * The object that a name finds at a standby (I14), after keys were replaced under their names and deleted at the
 * source. Programs that use a token are the judges: `pkcs11-tool` by id (to sign, version 0.23 ignores labels), and
 * OpenSSL's engine by id and by label.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { ReplicaMemory, type SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { Desk, EngineUser } from '../../support/token-users.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const ROUNDS = 10;
const desk = new Desk(temporaryFolder('names'));

class Standby {
  readonly member: TestMember;
  readonly engine: EngineUser;
  memory = new ReplicaMemory();
  previous: SealedGeneration | undefined;

  constructor(member: TestMember) {
    this.member = member;
    this.engine = new EngineUser(desk, member.token);
  }
}

let group: SealedGroup;
let source: TestMember;
let standbys: Standby[];

beforeEach(async () => {
  group = new SealedGroup();
  const members = await Promise.all(['a', 'b', 'c'].map((label) => TestMember.make(label)));
  [source] = members as [TestMember];
  standbys = members.slice(1).map((member) => new Standby(member));
  await enrolTogether(members, { group: group.name, version: 1 });
  writeFileSync(desk.at('message'), 'pay 12 to Anna\n');
  desk.openssl('dgst', '-sha256', '-binary', '-out', 'digest', 'message');
});
afterEach(async () => {
  for (const member of [source, ...standbys.map((one) => one.member)]) await member.close();
});
afterAll(() => rmSync(desk.folder, { recursive: true, force: true }));

async function replicate(options: Parameters<SealedGroup['capture']>[1] = {}): Promise<SealedGeneration> {
  const sealed = await group.captured(source, options);
  for (const standby of standbys) {
    const replica = {
      memory: standby.memory,
      previous: standby.previous === undefined ? [] : [standby.previous],
    };
    await group.apply(standby.member, sealed, replica);
    const { contentDigest, proof } = await group.verify(standby.member, sealed, replica);
    expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
    standby.previous = sealed;
  }
  return sealed;
}

/** A pair as its owner makes it; its public half goes to a file of this name. */
function makePair(file: string, { at = source, id = '01', label = 'tls' } = {}): void {
  const names = ['--id', id, '--label', label];
  at.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--extractable', '--usage-sign', ...names);
  const engine = new EngineUser(desk, at.token);
  engine.openssl('pkey', '-pubin', '-in', engine.publicKey(id), '-pubout', '-outform', 'DER', '-out', desk.at(file));
}

function destroyPair({ at = source, id = '01', label = 'tls' } = {}): void {
  for (const type of ['privkey', 'pubkey'])
    at.token.tool('--delete-object', '--type', type, '--id', id, '--label', label);
}

/** Whether what signs under this name is the key of that file; throws where nothing signs. */
function signs(file: string, sign: () => void): boolean {
  sign();
  const judged = ['-verify', file, '-keyform', 'DER', '-signature', 'signature', 'message'];
  try {
    return desk.openssl('dgst', '-sha256', ...judged) === 'Verified OK\n';
  } catch {
    return false;
  }
}

const byTool = (standby: Standby, id: string): void => {
  const sign = ['--sign', '-m', 'ECDSA', '--signature-format', 'openssl', '--id', id];
  standby.member.token.tool(...sign, '-i', desk.at('digest'), '-o', desk.at('signature'));
};
const byEngine = ({ engine }: Standby, key: string): void => {
  engine.openssl('dgst', '-sha256', '-sign', key, '-out', desk.at('signature'), desk.at('message'));
};

const waysTo = (standby: Standby, { id = '01', label = 'tls' }): (() => void)[] => [
  () => byTool(standby, id),
  () => byEngine(standby, standby.engine.key(id)),
  () => byEngine(standby, standby.engine.keyByLabel(label)),
];

/** How often the key of that file answered, of how often anything was asked, by every way to a name. */
function answers(file: string, standby: Standby, name: { id?: string; label?: string } = {}): number[] {
  return waysTo(standby, name).map(
    (sign) => Array.from({ length: ROUNDS }, () => signs(file, sign)).filter(Boolean).length,
  );
}

/** Whether nothing answers to the name. */
function isSilent(standby: Standby, name: { id: string; label: string }): boolean {
  return waysTo(standby, name).every((sign) => {
    try {
      sign();
      return false;
    } catch {
      return true;
    }
  });
}

const all = [ROUNDS, ROUNDS, ROUNDS];

it('a key that was replaced under its label and id answers nowhere; its successor answers every time', async () => {
  makePair('old.der');
  await replicate();
  for (const standby of standbys) expect(answers('old.der', standby)).toEqual(all);
  destroyPair();
  makePair('new.der');
  await replicate();
  for (const standby of standbys) expect(answers('new.der', standby)).toEqual(all);

  // After a failover the next generation is captured at a standby, and brought to the old source.
  const [first, second] = standbys as [Standby, Standby];
  const before = source;
  source = first.member;
  standbys = [second, new Standby(before)];
  standbys[1]!.previous = group.newest;
  group.captures.forget();
  makePair('other.der', { id: '02', label: 'other' });
  await replicate({ epoch: 2n });
  for (const standby of [first, ...standbys]) expect(answers('new.der', standby)).toEqual(all);
  destroyPair();
  makePair('newest.der');
  await replicate({ epoch: 2n });
  for (const standby of [first, ...standbys]) expect(answers('newest.der', standby)).toEqual(all);
}, 240_000);

it('what is deleted answers to its name nowhere, each half by itself, and also when the domain key has changed since', async () => {
  makePair('both.der', { id: '0a', label: 'both' });
  makePair('half.der', { id: '0b', label: 'half' });
  makePair('kept.der', { id: '0c', label: 'kept' });
  const { tool } = source.token;
  writeFileSync(desk.at('value'), 'a secret of an application');
  tool('--write-object', desk.at('value'), '--type', 'data', '--label', 'data', '--private');
  source.token.makeAes('0d');
  await replicate();
  destroyPair({ id: '0a', label: 'both' });
  tool('--delete-object', '--type', 'privkey', '--id', '0b');
  tool('--delete-object', '--type', 'secrkey', '--id', '0d');
  tool('--delete-object', '--type', 'data', '--label', 'data');
  await group.captured(source);
  const members = [source, ...standbys.map(({ member }) => member)];
  await enrolTogether(members, { group: group.name, version: 2 });
  await replicate({ domainKeyVersion: 2 });
  for (const standby of standbys) {
    expect(isSilent(standby, { id: '0a', label: 'both' })).toBe(true);
    expect(isSilent(standby, { id: '0b', label: 'half' })).toBe(true);
    expect(answers('kept.der', standby, { id: '0c', label: 'kept' })).toEqual(all);
    const listed = standby.member.token.tool('--list-objects');
    // The public half of the second pair was not deleted.
    expect(
      listed
        .match(/label: +(?!antipode)\S+/g)
        ?.map((line) => line.split(/ +/)[1])
        .sort(),
    ).toEqual(['half', 'kept', 'kept']);
  }
}, 240_000);
