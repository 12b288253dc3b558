/**
 * The identity of a member moves into its own token while the group continues. Every step of the documented path, the
 * refusals before its time, and the view of tokens and other programs afterwards. Real tokens, agents and coordinator.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { moveText } from '@antipode/cli/testing';
import { silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { type IdentityMove, loadAgentConfig, moveIdentity, pinPartitions } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { javaAliases } from '../../support/java-key-store.ts';
import { onToken } from '../../support/raw-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

let system: TestSystem;
let identities: TestToken;
beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'] });
  await system.makeKey('a', '01');
  await replicated(['b', 'c']);
}, 180_000);
afterAll(() => system?.close());

const replicated = (sites: readonly string[]) =>
  system.insistent(`${sites.join(' and ')} have it`, () => system.replicate(sites));

const move = (options: Partial<Parameters<typeof moveIdentity>[0]> = {}): Promise<IdentityMove> =>
  moveIdentity({ config: loadAgentConfig(system.site('b').configFile), name: 'main', log: silentLog, ...options });
const identityOfB = async (): Promise<string | undefined> =>
  (await system.operator.getStatus({})).sites
    .find(({ site }) => site === 'b')
    ?.partitions.find(({ name }) => name === 'main')?.identitySha256;
/** Labels of private keys of ours, by a raw look. */
const privateKeys = (token: TestToken): string[] =>
  onToken(token, (cryptoki, session) =>
    cryptoki
      .find(session, [[0, 3]])
      .map((handle) => Buffer.from(cryptoki.attributes(session, handle, [3])?.get(3) ?? []).toString()),
  ).sort();
const OURS = ['antipode identity', 'antipode receiving key'];

it('is refused where there is no token to move it to', async () => {
  expect((await rejection(move())).code).toBe('CONFIG_INVALID');
});

it('goes on with the old key when the configuration names the token', async () => {
  const { token, configFile } = system.site('b');
  identities = makeToken('identities', { folder: token.folder });
  const config = parse(readFileSync(configFile, 'utf8')) as { partitions: Record<string, unknown>[] };
  config.partitions[0]!['identityPartition'] = { tokenLabel: identities.label, pinFile: identities.config.pinFile };
  writeFileSync(configFile, stringify(config));
  await system.stopAgent('b');
  await system.startAgent('b');
  await system.makeKey('a', '02');
  await replicated(['b', 'c']);
});

it('makes the new pair once, however often it is asked, and uses it only when it is confirmed', async () => {
  const before = await system.until('b is heard', identityOfB);
  expect((await rejection(move({ confirmed: 'ab'.repeat(32) }))).code).toBe('REQUEST_INVALID');
  const made = await move();
  expect(made).toMatchObject({ phase: 'made', hasReceivingKey: true });
  expect(moveText(made, 'antipode')).toContain(`--peer b=${made.serial}=${made.identitySha256}`);
  expect((await move()).identitySha256).toBe(made.identitySha256);
  expect(privateKeys(identities)).toEqual(['antipode identity']);
  // Nothing of it is captured, restored or counted, and the old one is in use.
  await system.makeKey('a', '03');
  const { state } = await replicated(['b', 'c']);
  expect(state.members.map(({ unaccountedObjects }) => unaccountedObjects)).toEqual([0, 0, 0]);
  expect(await identityOfB()).toBe(before);
  for (const wrong of [{ confirmed: before }, { destroyOld: true, pinnedAt: ['a', 'c'] }])
    expect((await rejection(move(wrong))).code).toBe('REQUEST_INVALID');

  for (const name of ['a', 'c'])
    pinPartitions({ config: loadAgentConfig(system.site(name).configFile), group: GROUP, pins: [made.pin] });
  const switched = await move({ confirmed: made.identitySha256 });
  expect(switched).toMatchObject({ phase: 'switched', identitySha256: made.identitySha256 });
  await system.until('the running agent uses it', async () => (await identityOfB()) === made.identitySha256);
  await system.makeKey('a', '04');
  await replicated(['b', 'c']);
});

it('keeps the old pair until a domain key came under the new one, and every site has its word given', async () => {
  const { token } = system.site('b');
  expect(privateKeys(token)).toEqual([...OURS, 'antipode receiving key'].sort());
  const early = await rejection(move({ destroyOld: true, pinnedAt: ['a', 'c'] }));
  expect(early).toMatchObject({ code: 'REQUEST_INVALID' });
  expect(early.message).toContain('rotate-domain-key');
  await system.insistent('there is a new version', async () =>
    system.ended((await system.operator.rotateDomainKey({ group: GROUP })).operationId),
  );
  await replicated(['b', 'c']);
  const unsaid = await rejection(move({ destroyOld: true, pinnedAt: ['a'] }));
  expect(unsaid.message).toContain('you must confirm that site c');
  expect(privateKeys(token)).toHaveLength(3);

  const moved = await move({ destroyOld: true, pinnedAt: ['a', 'c'] });
  expect(moved.phase).toBe('moved');
  expect(await move()).toEqual(moved);
  expect(privateKeys(token)).toEqual(['antipode receiving key']);
  expect(privateKeys(identities)).toEqual(['antipode identity']);
});

it('captures under the new identity when it becomes active, and programs find their own keys', async () => {
  await system.moveTo('b');
  const { token } = system.site('b');
  await system.makeKey('b', '05');
  const { state } = await replicated(['a', 'c']);
  expect(state.newest?.objectCount).toBe(5);
  expect(javaAliases(token)).toContain('key 05');
});
