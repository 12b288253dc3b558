/**
 * Applications ask where their keys are, and get an answer while no coordinator does. A coordinator and three agents with
 * real tokens, the antipode command as a process of its own, and pkcs11-tool as the client.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeApplicationFolder } from '@antipode/setup';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, type Ended, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { USER_PIN } from '../../support/tokens.ts';

const BIN = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));

let system: TestSystem;
let config: string;
let ran: string;
let launched: ChildProcess | undefined;

beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'] });
  await system.makeKey('a', '01');
  await system.until('b and c have it', () => system.replicate(['b', 'c']));
  const { port } = operatorConfigOf(system.folder);
  const folder = join(system.folder, 'application');
  await makeApplicationFolder({
    folder,
    authority: join(system.folder, 'authority'),
    name: 'signer',
    coordinators: [{ id: 'main', address: `localhost:${port}` }],
    agent: { site: 'a', address: `localhost:${system.agent('a').port}` },
  });
  config = join(folder, 'application.yaml');
  ran = join(system.folder, 'ran');
}, 120_000);
afterAll(async () => {
  launched?.kill('SIGKILL');
  await system?.close();
});

const asked = (...args: string[]): Promise<Ended> => antipode(args, { configFile: config });
const lines = (): string[] => (existsSync(ran) ? readFileSync(ran, 'utf8').trim().split('\n') : []);
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

it('get the place in three forms, by which pkcs11-tool finds the key', async () => {
  const { token, serial } = system.site('a');
  const resolved = (...args: string[]) =>
    system.until('the active site can be relied on', async () => {
      const answer = await asked('resolve', GROUP, ...args);
      return answer.code === 0 && answer;
    });
  const uri = await resolved('--format', 'uri');
  expect(uri.stdout).toBe(`pkcs11:token=${token.label};serial=${serial}?module-path=/usr/lib/softhsm/libsofthsm2.so\n`);
  const place = await system.until('the coordinator leads', async () => {
    const found = JSON.parse((await resolved('--json')).stdout) as { isLeader: boolean };
    return found.isLeader && found;
  });
  expect(place).toMatchObject({ site: 'a', epoch: 1, answeredBy: 'coordinator main' });
  const { stdout } = await resolved('--format', 'env');
  const script = `${stdout}\npkcs11-tool --module "$ANTIPODE_MODULE" --token-label "$ANTIPODE_TOKEN_LABEL" --login --pin ${USER_PIN} --list-objects --type secrkey --id 01`;
  const found = execFileSync('/bin/sh', ['-c', script], {
    env: { ...process.env, ...token.environment },
    stdio: 'pipe',
  });
  expect(found.toString()).toContain('Secret Key Object');
});

it('may ask, and order nothing', async () => {
  const status = await asked('status', '--json');
  const [group] = JSON.parse(status.stdout).groups;
  expect(group).toMatchObject({ spec: { name: GROUP }, activeSite: 'a' });
  expect(group.spec).not.toHaveProperty('filter');
  const refused = [
    ['group', 'show', GROUP],
    ['replicate', GROUP],
    ['failover', GROUP, '--to', 'b', '--yes'],
  ];
  const answers = await Promise.all(refused.map((args) => asked(...args)));
  for (const { code, stderr } of answers) expect([code, stderr]).toEqual([6, expect.stringContaining('PEER_REFUSED')]);
});

it('get it from the agent of their site while no coordinator answers, with its age or with who vouches', async () => {
  const program = `echo "$ANTIPODE_SITE $$" >> '${ran}'; while :; do sleep 0.05; done`;
  launched = spawn(BIN, ['run', GROUP, '--config', config, '--every', '0.2', '--', '/bin/sh', '-c', program], {
    stdio: 'ignore',
  });
  await system.until('the program runs at a', async () => lines().some((line) => line.startsWith('a ')));
  await system.coordinatorProcess?.killAll();
  const { code, stdout, stderr } = await asked('resolve', GROUP);
  expect([code, stdout]).toEqual([4, expect.stringMatching(/^a +\//m)]);
  // The other voters vouch once half of the lease is over.
  expect(stderr).toMatch(
    /no coordinator answers, and site a (heard this [\d.]+ m?s ago|goes on without one, vouched for by b, c for [\d.]+ m?s)/,
  );
  expect(stderr).toContain('docs/runbooks/coordinator-lost.md');
});

it('run on meanwhile, and run elsewhere when the group has moved', async () => {
  await system.startCoordinator({ asProcess: true });
  await system.moveTo('b');
  await system.until('the program runs at b', async () => lines().some((line) => line.startsWith('b ')));
  expect(lines().map((line) => line.split(' ')[0])).toEqual(['a', 'b']);
  const { code, stdout } = await asked('resolve', GROUP, '--wait', '--timeout', '30', '--json');
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { site: 'b', epoch: 2 }]);
});

it('are not sent to the member that was active before, by an agent that knows the epoch is over', async () => {
  await system.coordinatorProcess?.killAll();
  const { code, stdout } = await asked('resolve', GROUP, '--json');
  // The agent of a has heard of the place, or of the epoch alone.
  if (code === 4) expect(JSON.parse(stdout)).toMatchObject({ site: 'b', answeredBy: 'site a' });
  else expect(code).toBe(6);
});

it('leave no program behind when the command is killed', async () => {
  const pid = Number(lines().at(-1)!.split(' ')[1]);
  expect(isAlive(pid)).toBe(true);
  launched!.kill('SIGKILL');
  await system.until('the program has ended', async () => !isAlive(pid));
  writeFileSync(ran, '');
});
