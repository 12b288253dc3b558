/**
 * Deletions in a whole system. After a token was emptied, captures are held until a person decides. Deleted keys are
 * listed and can be restored at the site. Until then the group is never reported as protected.
 *
 * At the end its agents guard their actions, and a stolen coordinator takes the place of the real one. It is here since a
 * system of its own would say nothing more.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ApprovalRequest,
  approvalFromFileText,
  CoordinatorService,
  MemberRole,
  operatorKeyText,
  RpcServer,
  type SignedApproval,
} from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { acceptDeleted, listDeleted, loadAgentConfig, restoreDeleted } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;

beforeAll(async () => {
  // No capture of the coordinator's own may see half of what happens to the token.
  system = await TestSystem.start({ rpoSeconds: 86_400 });
});
afterAll(() => system?.close());

const IDS = ['01', '02', '03', '04', '05', '06'];
const at = (name: string) => ({ config: loadAgentConfig(system.site(name).configFile), group: GROUP });
const destroy = (id: string): Promise<void> => system.deleteKey('a', id);
const all = IDS.map((id) => `key ${id}`);

it('a token that was emptied by mistake holds the capture, and is filled again from what is sealed at its site', async () => {
  for (const id of IDS) await system.makeKey('a', id);
  await system.replicate();
  for (const id of IDS) await destroy(id);
  expect((await rejection(system.replicate())).code).toBe('CAPTURE_HELD');
  const held = await system.untilProtection('held');
  expect(held.members.map(({ site, heldObjects }) => [site, heldObjects])).toContainEqual(['a', 6]);
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual(all);

  const objects = await listDeleted(at('a'));
  expect(objects.map(({ state, label }) => [state, label]).sort()).toEqual(all.map((label) => ['held', label]));
  const log = silentLog;
  await restoreDeleted({ ...at('a'), objectIds: objects.map(({ objectId }) => objectId), log });
  expect(await system.keysAt('a')).toEqual(all);
  await system.replicate();
  await system.untilProtection('protected');
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual(all);
});

it('a loss that is accepted goes on; what is deleted is listed by name at every site, and comes back at the active one', async () => {
  for (const id of IDS) await destroy(id);
  expect((await rejection(system.replicate())).code).toBe('CAPTURE_HELD');
  expect((await rejection(acceptDeleted({ ...at('b'), objectIds: [] }))).code).toBe('ROLE_REFUSED');
  expect(await acceptDeleted({ ...at('a'), objectIds: [] })).toHaveLength(6);
  await system.replicate();
  // One capture uses it up: should the same objects come back, a later loss of them is held again.
  const journal = Journal.open(at('a').config.dataFolder);
  expect(journal.decisions.accepted(journal.tenure.seat(GROUP)!).size).toBe(0);
  journal.close();
  await system.untilProtection('protected');
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual([]);

  const atStandby = await listDeleted(at('b'));
  expect(atStandby.map(({ state, label, isRestorable }) => [state, label, isRestorable]).sort()).toEqual(
    all.map((label) => ['deleted', label, true]),
  );
  const [one] = atStandby;
  const restore = (name: string) => restoreDeleted({ ...at(name), objectIds: [one!.objectId], log: silentLog });
  expect((await rejection(restore('b'))).code).toBe('ROLE_REFUSED');
  await restore('a');
  await system.replicate();
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toEqual([one!.label]);
  expect((await listDeleted(at('a'))).map(({ objectId }) => objectId)).not.toContain(one!.objectId);

  // Not beside another key that has its names by now.
  const [other] = (await listDeleted(at('a'))).filter(({ state }) => state === 'deleted');
  await system.makeKey('a', other!.ckaId);
  await system.replicate();
  const restoring = restoreDeleted({ ...at('a'), objectIds: [other!.objectId], log: silentLog });
  expect((await rejection(restoring)).code).toBe('ALREADY_EXISTS');
});

it('what was deleted does not come back beside a key of its name that no generation has', async () => {
  const gone = async () => (await listDeleted(at('a'))).filter(({ state }) => state === 'deleted');
  const restore = async (objectIds: readonly string[]) =>
    (await rejection(restoreDeleted({ ...at('a'), objectIds, log: silentLog }))).code;
  const { toolAsync } = system.site('a').token;
  const live = new Set(await system.keysAt('a'));
  const [uncaptured, fresh] = (await gone()).filter(({ label }) => !live.has(label));
  // One that its token does not give out, and one that was made since the last capture.
  await toolAsync(
    '--keygen',
    '--key-type',
    'AES:32',
    '--label',
    uncaptured!.label,
    '--id',
    uncaptured!.ckaId,
    '--sensitive',
  );
  await system.replicate();
  await system.makeKey('a', fresh!.ckaId);
  for (const one of [uncaptured, fresh]) expect(await restore([one!.objectId])).toBe('ALREADY_EXISTS');
  const beside = await system.keysAt('a');
  expect(beside.filter((label) => label === uncaptured!.label || label === fresh!.label)).toHaveLength(2);
  for (const one of [uncaptured, fresh]) await destroy(one!.ckaId);
  await system.replicate();

  // Two that bore one name, one after the other.
  const again = (await gone()).find(({ label }) => live.has(label))!;
  await destroy(again.ckaId);
  await system.replicate();
  const namesakes = (await gone()).filter(({ label }) => label === again.label);
  expect(namesakes).toHaveLength(2);
  expect(await restore(namesakes.map(({ objectId }) => objectId))).toBe('ALREADY_EXISTS');
});

it('a token that was emptied is left for a standby by order of a person, and filled again when it has rejoined', async () => {
  const there = await system.keysAt('a');
  for (const id of IDS.filter((id) => !there.includes(`key ${id}`))) await system.makeKey('a', id);
  await system.replicate();
  for (const id of IDS) await destroy(id);
  expect((await rejection(system.replicate())).code).toBe('CAPTURE_HELD');
  await system.moveTo('b');
  await system.untilActive('b');
  expect(await system.keysAt('b')).toEqual(all);
  await system.until('site a has nothing held any more', async () =>
    (await listDeleted(at('a'))).every(({ state }) => state !== 'held'),
  );
  await system.until('site a has its keys again', async () => (await system.keysAt('a')).length === all.length);
  await system.untilProtection('protected');
});

it('what one active member deleted comes back at the next one, and goes everywhere from there', async () => {
  await system.deleteKey('b', '03');
  await system.replicate(['a', 'c']);
  const moveTo = async (site: string): Promise<void> => {
    await system.moveTo(site);
    await system.untilActive(site);
  };
  await moveTo('c');
  await system.replicate(['a', 'b']);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).not.toContain('key 03');
  const gone = (await listDeleted(at('c'))).filter(({ label, state }) => state === 'deleted' && label === 'key 03');
  const [last] = gone.sort((one, other) => (other.deletedMs ?? 0) - (one.deletedMs ?? 0));
  await restoreDeleted({ ...at('c'), objectIds: [last!.objectId], log: silentLog });
  await system.replicate(['a', 'b']);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toContain('key 03');
  await moveTo('a');
  await system.replicate(['b', 'c']);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toContain('key 03');
});

it('keys that were replaced under their own names, many at once, wait for a person; the standbys keep those that were captured', async () => {
  const ids = ['61', '62', '63', '64', '65', '66'];
  for (const id of ids) await system.makeKey('a', id);
  await system.replicate();
  for (const id of ids) {
    await destroy(id);
    await system.makeKey('a', id);
  }
  const error = await rejection(system.replicate());
  expect(error.code).toBe('CAPTURE_HELD');
  expect(error.message).toContain('6 of ');
  expect(error.message).toContain('replaced by other keys under their own names');
  expect(error.hint).toContain('renewed');
  const held = (await listDeleted(at('a'))).filter(({ state }) => state === 'replaced');
  expect(held.map(({ label }) => label).sort()).toEqual(ids.map((id) => `key ${id}`));
  // Nothing comes back beside the key that has its names now.
  const restore = restoreDeleted({ ...at('a'), objectIds: [held[0]!.objectId], log: silentLog });
  expect((await rejection(restore)).code).toBe('ALREADY_EXISTS');
  expect(await acceptDeleted({ ...at('a'), objectIds: [] })).toHaveLength(6);
  await system.replicate();
  const after = await listDeleted(at('b'));
  for (const { objectId } of held) expect(after.find((one) => one.objectId === objectId)?.state).toBe('deleted');
  await system.untilProtection('protected');
});

it('a stolen coordinator gets nothing with one signature too few, and what it breaks is mended with approvals', async () => {
  const operators = new SomeOperators();
  const keyFile = (name: string): string => join(system.folder, `${name}.pem`);
  const named = operators.policy.operators.map(({ name, key }) => {
    writeFileSync(keyFile(name), operators.privateKey(name).export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    return `    - { name: ${name}, key: ${operatorKeyText(key)} }\n`;
  });
  const [from, to, third] = ['a', 'b', 'c'] as const;
  for (const name of [from, to, third]) {
    await system.stopAgent(name);
    const rules = `\napprovals:\n  required: 2\n  breakGlass: 3\n  operators:\n${named.join('')}`;
    appendFileSync(system.site(name).configFile, rules);
    await system.startAgent(name);
  }
  await system.until('every site says what it guards', async () =>
    (await system.operator.getStatus({})).sites.every(({ approvalRules }) => approvalRules.length === 1),
  );
  const before = await system.untilProtection('protected');
  const serialOf = (name: string): string => system.site(name).serial;
  const seatOf = (name: string) => system.agent(name).site.journal.tenure.seat(GROUP);
  const partition = (name: string, identity = '') =>
    ({ site: name, serial: serialOf(name), role: 'member', identity }) as const;

  // The thief has the certificate, the address and the term of the coordinator.
  await system.coordinator.close();
  const { term, coordinator } = system.agent(from).site.terms.highest!;
  const tenure = { epoch: before.epoch, owner: from as string };
  const taken: { approvals?: SignedApproval } = {};
  const thief = new RpcServer({ tls: system.coordinatorTls, log: silentLog });
  const operationId = 'an operation';
  const given = (approvals: readonly SignedApproval[]) =>
    approvals.length === 0
      ? {}
      : {
          approvals: { operationId, approvals: approvals.map((one) => ({ ...one, signatures: [...one.signatures] })) },
        };
  let isTaking = false;
  thief.add(CoordinatorService, {
    getLeader: async () => ({ coordinator, term, leader: coordinator }),
    heartbeat: async ({ state }) => ({
      intervalMs: 100,
      term,
      coordinator,
      leases:
        state?.site === tenure.owner
          ? [{ group: GROUP, epoch: tenure.epoch, leaseMs: 40_000n, selfStopMs: 30_000n, vouchers: [] }]
          : [],
      released:
        isTaking && state?.site === third
          ? [{ group: GROUP, serial: serialOf(third), ...tenure, ...given(taken.approvals ? [taken.approvals] : []) }]
          : [],
    }),
  });
  const { port } = operatorConfigOf(system.folder);
  await thief.listen(`localhost:${port}`);
  const fence = (...approvals: SignedApproval[]) => ({ group: GROUP, ...tenure, requestId: 'r', ...given(approvals) });
  let approvals = 0;
  const request = (changes: Partial<ApprovalRequest>): ApprovalRequest => {
    approvals += 1;
    const request = {
      limits: { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] },
      epochs: { from: Number(tenure.epoch), to: Number(tenure.epoch) },
      nonce: String(approvals).padStart(32, '0'),
    };
    return someRequest({ ...request, ...changes }, systemClock.wallMs() - 60_000);
  };
  /** Without an approval, with one signature too few, and with all of them. */
  const judged = async (
    order: (...approvals: SignedApproval[]) => Promise<unknown>,
    wanted: ApprovalRequest,
    names: readonly string[] = ['alice', 'bob', 'carol'],
  ): Promise<void> => {
    expect((await rejection(order())).code).toBe('APPROVAL_REQUIRED');
    const short = operators.sign(wanted, names.slice(0, -1));
    expect((await rejection(order(short))).code).toBe('APPROVAL_INSUFFICIENT');
    await order(operators.sign(wanted, names));
  };
  try {
    const leaseOf = (name: string) => async (): Promise<boolean> =>
      system.agent(name).site.leases.remainingMs(GROUP, tenure.epoch) > 20_000;
    await system.until('the active site has a lease of the thief', leaseOf(from));
    // A generation that only the site has which is active, and a promotion that loses it.
    await system.makeKey(from, '7a');
    const captured = await system.order(from).capture({
      fence: fence(),
      domainKeyVersion: before.domainKeyVersion,
    });
    expect(captured.isNew).toBe(true);
    Object.assign(tenure, { epoch: before.epoch + 1n, owner: to });
    for (const name of [from, to, third]) {
      const role = name === from ? MemberRole.FENCED : MemberRole.STANDBY;
      await system.order(name).setRole({ fence: fence(), serial: serialOf(name), role });
    }
    await judged(
      (...all) => system.order(to).promote({ fence: fence(...all) }),
      request({
        action: 'failover',
        partitions: [partition(to)],
        limits: { losesAtMost: 1, keepsGeneration: 0, withoutHearing: [] },
      }),
    );
    expect(seatOf(to)?.role).toBe('active');

    // Objects of another site, into production.
    await system.until('the site that is active now has one too', leaseOf(to));
    const objectIds = ['0'.repeat(32)];
    const source = { site: from, address: `localhost:${system.agent(from).port}` };
    await judged(
      (...all) => system.order(to).mergeDivergence({ fence: fence(...all), source, objectIds }),
      request({ action: 'restore', partitions: [partition(to)], objects: objectIds }),
    );

    // A seat is taken away by an answer to a heartbeat, and given again.
    const release = request({ action: 'release', partitions: [partition(third)] });
    const refusals = (code: string) => async (): Promise<boolean> =>
      system.logLines.some((line) => line.includes('cannot accept') && line.includes(code));
    isTaking = true;
    await system.until('the removal is refused', refusals('APPROVAL_REQUIRED'));
    taken.approvals = operators.sign(release, ['alice', 'bob']);
    await system.until('it is refused with one signature too few', refusals('APPROVAL_INSUFFICIENT'));
    expect(seatOf(third)?.role).toBe('standby');
    taken.approvals = operators.sign(release);
    await system.until('the site has lost its seat', async () => seatOf(third) === undefined);
    isTaking = false;
    const identity = system.agent(third).site.partitions.bySerial(serialOf(third)).identitySha256!;
    const enrol = request({ action: 'enrol', partitions: [partition(third, identity)] });
    const seated = (...all: SignedApproval[]) =>
      system.order(third).setRole({ fence: fence(...all), serial: serialOf(third), role: MemberRole.STANDBY });
    for (const short of [[], [operators.sign(enrol, ['alice', 'bob'])]])
      expect((await rejection(seated(...short))).code).toMatch(/^APPROVAL_(REQUIRED|INSUFFICIENT)$/);
    expect(seatOf(third)).toBeUndefined();
    await seated(operators.sign(enrol));
    expect(seatOf(third)?.role).toBe('standby');

    // A reseat, by its own approval and by breaking glass, which takes one more.
    Object.assign(tenure, { epoch: before.epoch + 2n });
    const reseat =
      (name: string) =>
      (...all: SignedApproval[]) =>
        system.order(name).reseat({ fence: fence(...all), serial: serialOf(name), role: MemberRole.STANDBY });
    await judged(reseat(third), request({ action: 'reseat', partitions: [partition(third)] }));
    await judged(reseat(from), request({ action: 'break-glass', partitions: [partition(from)] }), [
      ...['alice', 'bob', 'carol', 'dave'],
    ]);
  } finally {
    await thief.close();
  }

  // The real one finds epochs that it has not issued, and orders nothing. People mend that, with an approval made offline.
  await system.startCoordinator();
  await system.untilProtection('contradicted');
  const { file: configFile } = operatorConfigOf(system.folder);
  const run = (...args: string[]) => antipode(args, { configFile });
  const file = join(system.folder, 'reseat.json');
  const seats = [from, to, third].flatMap((name) => ['--partition', `${name}=${serialOf(name)}`]);
  const signs = (name: string) => ['--as', name, '--key', keyFile(name)];
  const asked = ['approve', 'request', 'reseat', GROUP, ...seats, '--epochs', `${before.epoch}-${before.epoch + 9n}`];
  expect(await run(...asked, '--reason', 'a theft', ...signs('alice'), '--out', file)).toMatchObject({ code: 0 });
  expect(await run('approve', 'sign', file, '--yes', ...signs('bob'))).toMatchObject({ code: 0 });
  expect(approvalFromFileText(readFileSync(file, 'utf8')).signatures.map(({ operator }) => operator)).toEqual([
    'alice',
    'bob',
  ]);
  const order = ['group', 'reseat', GROUP, '--yes'];
  const short = await run(...order, '--approval', file);
  expect([short.code, short.stderr]).toEqual([5, expect.stringContaining('[APPROVAL_')]);
  expect((await system.operator.getGroup({ group: GROUP })).group?.protection).toBe('contradicted');
  expect(await run('approve', 'sign', file, '--yes', ...signs('carol'))).toMatchObject({ code: 0 });
  expect(await run(...order, '--approval', file)).toMatchObject({ code: 0 });
  await system.untilActive(to);
});
