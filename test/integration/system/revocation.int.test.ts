/**
 * A key was stolen, in a system of three sites with real mTLS: the page of docs/runbooks as it is written, and what it
 * does not say. A list takes as long as ten heartbeats of the fast profile to reach everybody.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  describeCertificate,
  identityUri,
  OperatorService,
  type Revocation,
  revocationFileText,
} from '@antipode/protocol';
import { SomeOperators, someRevocation, someRevocations } from '@antipode/protocol/testing';
import { systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { makeOperatorFolder } from '@antipode/setup';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { antipode } from '../../support/command.ts';
import { type Place, RunbookDesk } from '../../support/runbook-desk.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 400_000, hookTimeout: 300_000 });

const MINUTE_MS = 60_000;
const operators = new SomeOperators(['alice', 'bob', 'carol']);
const section = operators.revocationSection;

let system: TestSystem;
let desk: RunbookDesk;
const folderOf = (name: string): string => join(system.folder, name);

beforeAll(async () => {
  system = await TestSystem.start({ section, rpoSeconds: 86_400 });
  const address = system.addressOfCoordinator('main');
  const security = { folder: folderOf('security'), authority: folderOf('authority'), name: 'sara' };
  await makeOperatorFolder({ ...security, role: 'security', coordinators: [{ id: 'main', address }] });
  appendFileSync(join(security.folder, 'operator.yaml'), section);
  desk = new RunbookDesk({
    places: placeOf,
    translate: async (script) => script,
    knows: (word) => (word === 'example.org' ? 'test.antipode' : word),
  });
  for (const name of ['alice', 'bob'])
    writeFileSync(
      join(desk.folder, `${name}.pem`),
      operators.privateKey(name).export({ format: 'pem', type: 'pkcs8' }),
      {
        mode: 0o600,
      },
    );
  await system.makeKey('a', '01');
  await system.replicate();
});
afterAll(async () => {
  desk?.close();
  await system?.close();
});

function placeOf(name: string): Place {
  const environment = { ANTIPODE_LOG_FORMAT: 'json' };
  const stick = { '/media/stick': desk.folder };
  if (name === '')
    return { environment: { ANTIPODE_CONFIG: join(folderOf('security'), 'operator.yaml') }, paths: stick };
  if (name === 'authority') return { environment, paths: { ...stick, '/media/authority': folderOf('authority') } };
  const { folder, token } = system.site(name);
  return {
    environment: { ...token.environment, ...environment },
    paths: { ...stick, '/var/lib/antipode/site': folder },
  };
}

const versionAt = (site: string): number | undefined => system.agent(site).site.revocations?.().version;
const told = (text: string): number => system.logLines.filter((line) => line.includes(text)).length;

it('a-key-was-stolen: cuts the active site everywhere, and it works again with another certificate', async () => {
  const certificateFile = join(system.site('a').folder, 'tls.crt');
  const stolen = describeCertificate(readFileSync(certificateFile, 'utf8'));
  let beganMs = 0;
  let tookMs = 0;
  await desk.follow('a-key-was-stolen.md', {
    '3. Bring it in': async () => {
      beganMs = systemClock.monotonicMs();
      expect(await system.operator.getStatus({})).toMatchObject({ revocations: { version: 0, hasRules: true } });
    },
    '4. See that it holds': async () => {
      await system.until('b and c have the list', async () => versionAt('b') === 1 && versionAt('c') === 1);
      await system.until('site a is taken for lost', async () => {
        const { sites } = await system.operator.getStatus({});
        return sites.some(({ site, state, revoked }) => site === 'a' && state === 'down' && revoked.length === 1);
      });
      tookMs = systemClock.monotonicMs() - beganMs;
      // Fenced as a lost site: its lease has run out, and the group is served elsewhere in a later epoch.
      await system.until('another member is active', async () => {
        const { group } = await system.operator.getGroup({ group: GROUP });
        return group !== undefined && group.activeSite !== 'a' && group.epoch > 1n;
      });
      expect(system.agent('a').site.leases.remainingMs(GROUP, 1n)).toBe(0);
      expect(told('a connection was cut')).toBeGreaterThan(0);
    },
    '5. Give the site another certificate': async () => {
      await system.makeKey((await system.operator.resolve({ group: GROUP })).site, '02');
    },
  });
  expect(tookMs).toBeLessThan(MINUTE_MS);
  const renewed = describeCertificate(readFileSync(certificateFile, 'utf8'));
  expect(identityUri(renewed.identity!)).toBe(identityUri(stolen.identity!));
  expect(renewed.fingerprint).not.toBe(stolen.fingerprint);
  await system.until('site a has the list too', async () => versionAt('a') === 1);
  const { activeSite } = (await system.operator.getGroup({ group: GROUP })).group!;
  const others = ['a', 'b', 'c'].filter((site) => site !== activeSite);
  await system.insistent('the next key is replicated to site a again', () => system.replicate(others));
  expect(await system.keysAt('a')).toEqual(['key 01', 'key 02']);
});

it('the list comes in at a site where no coordinator is trusted, and a revoked coordinator leads nobody', async () => {
  const inForce = system.agent('b').site.revocations?.();
  const nowMs = systemClock.wallMs();
  const revoked = (name: string): Revocation =>
    someRevocation({
      name: `spiffe://test.antipode/${name}`,
      issuedBefore: new Date(nowMs).toISOString(),
      since: new Date(nowMs).toISOString(),
    });
  const entries = ['coordinator/main', 'operator/test'].map(revoked);
  const list = someRevocations(entries, undefined, {
    trustDomain: 'test.antipode',
    version: 2,
    previous: inForce?.digest ?? '',
  });
  const file = join(desk.folder, 'second.json');
  writeFileSync(file, revocationFileText(operators.signRevocations(list)));
  const { configFile } = system.site('b');
  const installed = await antipode(['certificate', 'revoked', 'install', file, '--config', configFile], {});
  expect([installed.code, installed.stderr]).toEqual([0, '']);
  const again = await antipode(['certificate', 'revoked', 'install', file, '--config', configFile, '--json'], {});
  expect(JSON.parse(again.stdout)).toMatchObject({ version: 2, isNew: false });
  // From b to the others, and to the coordinator itself: it stops by its own list.
  await system.until('every agent has it', async () => ['a', 'b', 'c'].every((site) => versionAt(site) === 2));
  await system.until('the coordinator knows', async () => told('this coordinator must not lead') > 0);
  expect(system.coordinator.status()).toBe('stands by');
  for (const site of ['a', 'b', 'c']) {
    const refused = system.order(site).describe({});
    expect(await rejection(refused)).toMatchObject({
      code: 'CERTIFICATE_REVOKED',
      details: { answeredBy: expect.anything() },
    });
    expect(await rejection(system.dialResolver(site).lastKnown({ group: GROUP }))).toMatchObject({
      code: 'CERTIFICATE_REVOKED',
    });
  }
  const operator = system.dialCoordinator(OperatorService, 'main');
  expect(await rejection(operator.getStatus({}))).toMatchObject({ code: 'CERTIFICATE_REVOKED' });
  operator.close();
  // The operator's command goes by the list beside its configuration, and calls a revoked coordinator no more.
  const security = join(folderOf('security'), 'operator.yaml');
  writeFileSync(join(folderOf('security'), 'revocations.json'), readFileSync(file));
  const refused = await antipode(['group', 'list', '--json'], { configFile: security });
  expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('CERTIFICATE_REVOKED')]);
});
