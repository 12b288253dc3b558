/**
 * A token that takes every object but one, in a whole system of three sites: the planned move and the failover by the
 * commands of operators. `pkcs11-tool` judges what each site has.
 */
import { FailoverPolicy, type GroupState } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, type Ended, operatorConfigOf } from '../../support/command.ts';
import { type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const CODE = 'CKR_ATTRIBUTE_VALUE_INVALID';
const [OK, DEGRADED, REFUSED] = [0, 4, 6];
const SITES = ['a', 'b', 'c'];
const BOTH = ['key 70', 'key 71'];
const TIMEOUT_MS = 180_000;

let system: TestSystem;
let device: LyingToken;
beforeAll(async () => {
  system = await TestSystem.start({
    rpoSeconds: 86_400,
    failoverPolicy: FailoverPolicy.MANUAL,
    timeoutMs: 120_000,
    disguise: (site, token) => {
      if (site !== 'b') return token;
      device = lying(token);
      return device;
    },
  });
  device.tell({ lie: 'refuse', code: CODE, function: 'C_UnwrapKey', label: 'key 71' });
}, TIMEOUT_MS);
afterAll(() => system?.close());

const command = (...args: string[]): Promise<Ended> =>
  antipode(args, { configFile: operatorConfigOf(system.folder).file });
const told = ({ stdout, stderr }: Ended): string => stdout + stderr;
const keys = (): Promise<string[][]> => Promise.all(SITES.map((site) => system.keysAt(site)));
const refusedIn = ({ members }: GroupState) => members.map(({ site, refusedObjects }) => [site, refusedObjects]);
const group = async (): Promise<GroupState> => (await system.operator.getGroup({ group: GROUP })).group!;

it(
  'the commands name the site, the object and the answer of the token',
  async () => {
    for (const id of ['70', '71']) await system.makeKey('a', id);
    await system.replicate();
    const state = await system.untilProtection('partially-protected');
    expect(refusedIn(state)).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 0],
    ]);
    expect(await keys()).toEqual([BOTH, ['key 70'], BOTH]);
    const status = await command('status');
    expect([status.code, told(status)]).toEqual([
      DEGRADED,
      expect.stringContaining(`Site b could not serve 1 object of group ${GROUP}`),
    ]);
    const { objectId } = state.members.find(({ site }) => site === 'b')!.refused[0]!;
    const shown = (await command('group', 'show', GROUP)).stdout.split('\n').find((line) => line.includes(objectId));
    expect(shown).toMatch(new RegExp(`^b .*${CODE}`));
  },
  TIMEOUT_MS,
);

it(
  'a switchover and a failover to that site change nothing, and name the command that would',
  async () => {
    const accepting = `antipode failover ${GROUP} --to b --accept-loss`;
    const plan = await command('switchover', GROUP, '--to', 'b', '--dry-run');
    expect([plan.code, told(plan)]).toEqual([OK, expect.stringContaining(accepting)]);
    const planned = await command('switchover', GROUP, '--to', 'b', '--yes');
    expect([planned.code, told(planned)]).toEqual([REFUSED, expect.stringContaining('nothing was changed')]);
    expect(planned.stderr.split('[FAILOVER_REFUSED]').at(-1)).toContain(accepting);
    const failover = await command('failover', GROUP, '--to', 'b', '--yes');
    expect([failover.code, told(failover)]).toEqual([
      REFUSED,
      expect.stringContaining('the token of site b refuses 1 object of the group'),
    ]);
    const { activeSite, epoch } = await group();
    expect([activeSite, epoch]).toEqual(['a', 1n]);
  },
  TIMEOUT_MS,
);

it(
  'a failover with --accept-loss serves all but that object, and loses it at no other site',
  async () => {
    const moved = await command('failover', GROUP, '--to', 'b', '--accept-loss', '--yes');
    expect([moved.code, moved.stdout]).toEqual([OK, expect.stringContaining('site b is active in epoch 2')]);
    await system.insistent('b is captured', () => system.replicate(['a', 'c']));
    expect(await keys()).toEqual([BOTH, ['key 70'], BOTH]);
    const state = await system.untilProtection('partially-protected');
    expect([state.newest?.objectCount, state.newest?.uncaptured.length]).toEqual([2, 1]);
    const status = await command('status');
    expect([status.code, told(status)]).toEqual([DEGRADED, expect.stringContaining('Site b does not serve 1 object')]);
    // The way out says where the object is, and tells nobody to destroy it.
    expect((await command('group', 'show', GROUP)).stdout).toContain('other members have it');
    const listed = await antipode(['partition', 'objects', 'main', '--config', system.site('b').configFile, '--json']);
    const { objects } = JSON.parse(listed.stdout) as { objects: { label: string; state: string; reason?: string }[] };
    expect(objects.map(({ label, state, reason }) => [label, state, reason])).toContainEqual([
      'key 71',
      'refused',
      CODE,
    ]);

    const back = await command('switchover', GROUP, '--to', 'a', '--yes');
    expect([back.code, back.stdout]).toEqual([OK, expect.stringContaining('site a is active in epoch 3')]);
    await system.insistent('a is captured', () => system.replicate());
    expect(await keys()).toEqual([BOTH, ['key 70'], BOTH]);
  },
  TIMEOUT_MS,
);

it(
  'where the active site is lost, the failover to that site needs --accept-loss too, and says what that accepts',
  async () => {
    await system.stopAgent('a');
    await system.until('site a is down', async () =>
      (await system.operator.getStatus({})).sites.some(({ site, state }) => site === 'a' && state === 'down'),
    );
    const without = await command('failover', GROUP, '--to', 'b', '--yes');
    expect([without.code, told(without)]).toEqual([
      REFUSED,
      expect.stringContaining('It accepts that site b does not serve 1 object, and no more. No generation is lost.'),
    ]);
    expect((await group()).activeSite).toBe('a');
    // Without a name, the failover goes to the site that can serve everything.
    const best = await command('failover', GROUP, '--dry-run');
    expect([best.code, told(best)]).toEqual([OK, expect.stringContaining(`Group ${GROUP} moves from a to c`)]);
    const moved = await command('failover', GROUP, '--to', 'b', '--accept-loss', '--yes');
    expect([moved.code, moved.stdout]).toEqual([OK, expect.stringContaining('site b is active in epoch 4')]);
    expect(await system.keysAt('c')).toEqual(BOTH);
  },
  TIMEOUT_MS,
);

it(
  'once the token takes the object, every site has it again',
  async () => {
    device.tell();
    await system.startAgent('a');
    const moved = await command('switchover', GROUP, '--to', 'c', '--yes');
    expect([moved.code, moved.stdout]).toEqual([OK, expect.stringContaining('site c is active in epoch 5')]);
    await system.insistent('c is captured', () => system.replicate(['a', 'b']));
    await system.untilProtection('protected');
    expect(await keys()).toEqual([BOTH, BOTH, BOTH]);
  },
  TIMEOUT_MS,
);
