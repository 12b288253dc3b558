/** The life of a group: each step by the command, with keys of applications in real tokens, and the soak's checks after it. */
import { seededPrng } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Applications } from '../../chaos/soak/applications.ts';
import { judge, unsettledNow } from '../../chaos/soak/checks.ts';
import { Command } from '../../chaos/soak/command.ts';
import { JournalWatch } from '../../chaos/soak/journals.ts';
import { TokenJudge } from '../../chaos/soak/token-judge.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

// Each step has several commands, and a round of applications at four tokens.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

let system: TestSystem;
let command: Command;
let applications: Applications;
let watch: JournalWatch;
const judges = new Map<string, TokenJudge>();
const told: string[] = [];
const tell = (text: string): void => void told.push(text);

beforeAll(async () => {
  system = await TestSystem.start({ spare: true });
  const tokens = new Map([...system.sites].map(([name, { token }]) => [name, token]));
  for (const [name, token] of tokens) judges.set(name, new TokenJudge(token));
  command = new Command(system.folder);
  applications = new Applications({ command, tokens, judges, group: GROUP, prng: seededPrng('lifetime'), tell });
  watch = new JournalWatch(new Map([...system.sites].map(([name, { folder }]) => [name, `${folder}/data`])), tell);
  watch.start();
});

afterAll(async () => {
  await watch?.close();
  await system?.close();
});

/** Applications go on, everything settles, and every name answers at these sites with what was promised. */
async function checked(sites: readonly string[]): Promise<void> {
  await system.until('a round of the applications is acknowledged', () => applications.round({ changes: 2 }));
  let unsettled: string[] = [];
  await system
    .until('nothing is unsettled', async () => {
      unsettled = await unsettledNow(system);
      return unsettled.length === 0;
    })
    .catch((thrown: unknown) => {
      throw new Error(`${unsettled.join('; ')}\n${String(thrown)}`);
    });
  const members = new Map([...judges].filter(([site]) => sites.includes(site)));
  const { lost, deletedAnswers } = await judge(applications.names, members, tell);
  expect({ lost: [...lost], deletedAnswers, violations: told.filter((line) => line.startsWith('VIOLATION')) }).toEqual({
    lost: [],
    deletedAnswers: 0,
    violations: [],
  });
}

const run = async (...args: string[]) => {
  const { status, data, stderr } = await command.run(...args);
  return { status, data, stderr };
};
const done = async (...args: string[]) => {
  const answer = await run(...args);
  expect([answer.status, answer.status === 0 ? '' : answer.stderr]).toEqual([0, '']);
  return answer;
};
/** By the agent's own word. */
async function seatsAt(name: string): Promise<number> {
  const agent = system.order(name);
  try {
    return (await agent.describe({})).members.length;
  } finally {
    agent.close();
  }
}
const group = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const memberSites = async () => (await group()).members.map(({ site }) => site).sort();

it('a group of three sites is sound', () => checked(['a', 'b', 'c']));

it('a member is added: it votes when it has caught up, and a second site of its partition is refused', async () => {
  const { serial } = system.site('d');
  const shown = await done('group', 'add-member', GROUP, `d=${serial}`, '--dry-run');
  expect(shown.stderr).toContain('a majority is 3');
  expect(await memberSites()).toEqual(['a', 'b', 'c']);
  const before = (await group()).domainKeyVersion;
  const unconfirmed = await run('group', 'add-member', GROUP, `d=${serial}`);
  expect([unconfirmed.status, await memberSites()]).toEqual([2, ['a', 'b', 'c']]);
  await done('group', 'add-member', GROUP, `d=${serial}`, '--yes');
  expect([await memberSites(), (await group()).domainKeyVersion > before]).toEqual([['a', 'b', 'c', 'd'], true]);
  const repeated = await done('group', 'add-member', GROUP, `d=${serial}`, '--yes');
  expect(repeated.stderr).toContain('Nothing to do');
  const renamed = await run('group', 'add-member', GROUP, `e=${serial}`, '--yes');
  expect([renamed.status, renamed.stderr.includes('GROUP_CHANGE_REFUSED')]).toEqual([6, true]);
  expect(renamed.stderr).toContain('A site keeps its name');
  await checked(['a', 'b', 'c', 'd']);
});

it('the filter is changed: objects that leave the group are named by id and deleted nowhere', async () => {
  const has = async (name: string): Promise<boolean> =>
    (await system.site(name).token.toolAsync('--list-objects', '--type', 'secrkey')).includes('e001');
  const holders = (...sites: string[]) => Promise.all(sites.map(has));
  await system.makeKey('a', 'e001');
  await done('replicate', GROUP);
  expect(await holders('a', 'b', 'c', 'd')).toEqual([true, true, true, true]);
  const shown = await done('group', 'update', GROUP, '--exclude-id', 'e001', '--dry-run');
  expect(shown.data).toMatchObject({ filter: { excluded: { objects: 1, ckaIds: ['e001'] } } });
  expect(shown.stderr).toContain('not deleted anywhere');
  expect((await run('group', 'update', GROUP, '--exclude-id', 'e001')).status).toBe(2);
  await done('group', 'update', GROUP, '--exclude-id', 'e001', '--rpo', '600', '--yes');
  await done('replicate', GROUP);
  const { newest, spec } = await group();
  expect([newest?.uncaptured.map(({ reason }) => reason), spec?.rpoSeconds]).toEqual([['excluded'], 600]);
  expect(await holders('b', 'c', 'd')).toEqual([true, true, true]);
  // Its application deletes it: that reaches nobody either.
  await system.deleteKey('a', 'e001');
  await done('replicate', GROUP);
  expect(await holders('a', 'b', 'c', 'd')).toEqual([false, true, true, true]);
  // A person takes the copies away, as the plan says: the next active member would report them as excluded.
  for (const name of ['b', 'c', 'd']) await system.deleteKey(name, 'e001');
  await checked(['a', 'b', 'c', 'd']);
});

describe('a site that is away', () => {
  it('is removed, and is not a standby when it is back', async () => {
    await system.stopAgent('c');
    // A site that is taken for up still gets the domain key for its scratch partition.
    await system.until('site c is down', async () =>
      (await system.operator.getStatus({})).sites.some(({ site, state }) => site === 'c' && state === 'down'),
    );
    await done('group', 'remove-member', GROUP, 'c', '--yes');
    expect(await memberSites()).toEqual(['a', 'b', 'd']);
    await system.startAgent('c');
    await system.until('the agent has given up its seat', async () => (await seatsAt('c')) === 0);
    await checked(['a', 'b', 'd']);
  });
});

it('the active member is not removed, and automatic failover needs three members', async () => {
  for (const site of ['a', 'b']) {
    const refused = await run('group', 'remove-member', GROUP, site, '--yes');
    expect([refused.status, refused.stderr.includes('GROUP_CHANGE_REFUSED')]).toEqual([6, true]);
  }
});

it('the scratch partition is replaced, and a drill passes in the new one', async () => {
  await done('group', 'set-scratch', GROUP, '--scratch', `d=${system.site('d').scratchSerial}`, '--yes');
  expect((await group()).spec?.scratch.map(({ site }) => site)).toEqual(['d']);
  // The new partition opens what is captured under the version that it has got.
  await checked(['a', 'b', 'd']);
  await done('drill', 'run', GROUP);
  expect(await unsettledNow(system)).toEqual([]);
});

it('the member that was added serves', async () => {
  await done('failover', GROUP, '--to', 'd', '--yes');
  await checked(['a', 'b', 'd']);
  expect(watch.twoActives).toBe(0);
});

it('the group is deleted: keys stay, and a new group of its name begins above it', async () => {
  const { epoch, newest, domainKeyVersion } = await group();
  await done('group', 'delete', GROUP, '--yes');
  expect((await run('resolve', GROUP)).status).not.toBe(0);
  for (const name of ['a', 'b', 'd'])
    await system.until(`site ${name} has given up its seat`, async () => (await seatsAt(name)) === 0);
  const { lost } = await judge(applications.names, new Map([...judges].filter(([site]) => site !== 'c')), tell);
  expect([...lost]).toEqual([]);
  expect((await done('group', 'delete', GROUP, '--yes')).stderr).toContain('deleted already');
  const members = ['d', 'a', 'b'].flatMap((name) => ['--member', `${name}=${system.site(name).serial}`]);
  const scratch = ['--scratch', `d=${system.site('d').scratchSerial}`];
  await done('group', 'create', GROUP, ...members, ...scratch);
  const founded = await group();
  expect([founded.epoch > epoch, founded.domainKeyVersion > domainKeyVersion]).toEqual([true, true]);
  await checked(['a', 'b', 'd']);
  expect((await group()).newest!.generation > newest!.generation).toBe(true);
});
