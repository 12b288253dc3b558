/**
 * The identity of a member moves into its own token while the group continues. Every step of the documented path, the
 * refusals before its time, and the view of tokens and other programs afterwards. Real tokens, agents and coordinator.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { follow, moveText } from '@antipode/cli/testing';
import { silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { type IdentityMove, loadAgentConfig, moveIdentity, pinPartitions } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { javaAliases } from '../../support/java-key-store.ts';
import { onToken } from '../../support/raw-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

const TIMEOUT_MS = 45_000;
let system: TestSystem;
let identities: TestToken;
beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'] });
  system.makeKey('a', '01');
  await replicated(['b', 'c']);
}, 180_000);
afterAll(() => system?.close());

/** On a machine that is busy a leader may lose its lease for a moment: what was refused is ordered again. */
const insistent = <T>(what: string, work: () => Promise<T>): Promise<T> =>
  system.until(what, async () => ({ made: await work() })).then(({ made }) => made);
const replicated = (sites: readonly string[]) =>
  insistent(`${sites.join(' and ')} have it`, () => system.replicate(sites));

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
  system.makeKey('a', '02');
  await replicated(['b', 'c']);
});

it('makes the new pair once, however often it is asked, and uses it only when it is confirmed', async () => {
  const before = await insistent(
    'b is heard',
    async () => (await identityOfB()) ?? Promise.reject(new Error('not yet')),
  );
  expect((await rejection(move({ confirmed: 'ab'.repeat(32) }))).code).toBe('REQUEST_INVALID');
  const made = await move();
  expect(made).toMatchObject({ phase: 'made', hasReceivingKey: true });
  expect(moveText(made)).toContain(`--peer b=${made.serial}=${made.identitySha256}`);
  expect((await move()).identitySha256).toBe(made.identitySha256);
  expect(privateKeys(identities)).toEqual(['antipode identity']);
  // Nothing of it is captured, restored or counted, and the old one is in use.
  system.makeKey('a', '03');
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
  system.makeKey('a', '04');
  await replicated(['b', 'c']);
});

it('keeps the old pair until a domain key came under the new one, and every site has its word given', async () => {
  const { token } = system.site('b');
  expect(privateKeys(token)).toEqual([...OURS, 'antipode receiving key'].sort());
  const early = await rejection(move({ destroyOld: true, pinnedAt: ['a', 'c'] }));
  expect(early).toMatchObject({ code: 'REQUEST_INVALID' });
  expect(early.message).toContain('rotate-domain-key');
  await insistent('there is a new version', async () => {
    const { operationId } = await system.operator.rotateDomainKey({ group: GROUP });
    return follow(system.operator, operationId, { timeoutMs: TIMEOUT_MS });
  });
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
  await insistent('b is active', async () => {
    if ((await system.operator.getGroup({ group: GROUP })).group?.activeSite === 'b') return;
    const order = { group: GROUP, toSite: 'b', acceptLoss: false, acceptedLosses: [] };
    await follow(system.operator, (await system.operator.failover(order)).operationId, { timeoutMs: TIMEOUT_MS });
  });
  const { token } = system.site('b');
  system.makeKey('b', '05');
  const { state } = await replicated(['a', 'c']);
  expect(state.newest?.objectCount).toBe(5);
  expect(javaAliases(token)).toContain('key 05');
});
