/** A site that operators retire: a real agent that calls all the same, another leader, and the way back. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { statusText } from '@antipode/cli/testing';
import { makeOperatorFolder } from '@antipode/setup';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestSystem } from '../../support/system.ts';

const ANTIPODE = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));

let system: TestSystem;
let folder: string;

beforeAll(async () => {
  system = await TestSystem.start({ spare: true });
  folder = join(system.folder, 'security');
  const coordinators = [{ id: 'main', address: system.addressOfCoordinator('main') }];
  const authority = join(system.folder, 'authority');
  await makeOperatorFolder({ folder, authority, name: 'sara', role: 'security', coordinators });
}, 90_000);

afterAll(() => system?.close());

/** `antipode site ...`, as sara runs it at her desk. */
const site = (...args: string[]): Promise<{ status: number; out: string; said: string }> =>
  new Promise((resolve) => {
    const config = ['--config', join(folder, 'operator.yaml')];
    execFile(ANTIPODE, ['site', ...args, ...config], (error, out, said) =>
      resolve({ status: error === null ? 0 : Number(error.code), out, said }),
    );
  });

const status = () => system.operator.getStatus({});
const isKnown = async (): Promise<boolean> => (await status()).sites.some((one) => one.site === 'd');

const untilCalls = () =>
  system.until('the forgotten agent is refused', async () => {
    const found = await status();
    return found.forgottenSites.some(({ site: name, calling }) => name === 'd' && calling !== undefined) && found;
  });

it('is refused while it is a member, and while its agent runs', async () => {
  expect((await site('forget', 'b', '--yes')).said).toContain(
    '[SITE_IN_USE] site b cannot be forgotten: it is a member',
  );
  expect((await site('forget', 'd', '--yes')).said).toContain('its agent is heard');
});

it('asks for the name before it forgets, and on a dry run forgets nothing', async () => {
  await system.stopAgent('d');
  await system.until('site d is silent', async () => (await site('forget', 'd', '--dry-run')).status === 0);
  const asked = await site('forget', 'd');
  expect(asked.said).toContain('there is no terminal to ask for confirmation');
  expect([asked.status === 0, await isKnown()]).toEqual([false, true]);
});

it('is gone from the status when it is forgotten, however often that is ordered', async () => {
  expect(await site('forget', 'd', '--yes')).toMatchObject({ status: 0, out: 'site d is forgotten\n' });
  expect(await isKnown()).toBe(false);
  expect((await site('forget', 'd', '--yes')).out).toContain('site d has been forgotten since');
});

it('does not come back when its agent starts again, nor under another leader: the status says that it calls', async () => {
  await system.startAgent('d');
  const found = await untilCalls();
  expect(await isKnown()).toBe(false);
  expect(statusText(found)).toContain('The agent of site d, which sara has retired');
  await system.coordinator.close();
  await system.startCoordinator();
  await untilCalls();
  expect(await isKnown()).toBe(false);
});

it('is up again after an operator has taken it back, and its agent needs no restart', async () => {
  expect((await site('readmit', 'd')).out).toBe('site d is taken back\n');
  expect((await site('readmit', 'd')).out).toBe('site d was not forgotten\n');
  await system.until('site d is up', async () =>
    (await status()).sites.some(({ site: name, state }) => name === 'd' && state === 'up'),
  );
  expect((await status()).forgottenSites).toEqual([]);
});
