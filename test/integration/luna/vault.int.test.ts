/** A Backup HSM from factory state to its generations of backups, with every step cut short once. */
import type { ApprovedOrder, KeepReport, PrepareOrder, PrepareReport } from '@antipode/hsm-core/luna';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { verificationOf } from '../../emulators/lunacm/commands/hsm.ts';
import { hashOf } from '../../emulators/lunacm/devices.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { archiveOf } from '../../emulators/lunacm/objects.ts';
import { backUp, lunaSite, statesOf, typed } from './support.ts';

const VAULT = '532018';
const RANDOM = 'A1B2-C3D4-E5F6-G7H8';

const prepare = (site: LunaSite, order: Partial<PrepareOrder> = {}, approvals?: ApprovedOrder[]) =>
  site.finish<PrepareReport>(
    site.driver.prepareVault(
      {
        ...{ vault: site.vault.address, password: site.secret('vault'), domain: site.secret('domain') },
        restrictedRestore: true,
        ...order,
      },
      approvals ?? [{ action: 'prepare vault', target: site.vault.address }],
    ),
  );

const strings = (site: LunaSite) => ({
  randomUserString: RANDOM,
  verificationString: verificationOf(site.partition(VAULT), RANDOM),
});

const statesIn = ({ steps }: PrepareReport) => steps.map(({ state }) => state);

describe('a vault in factory state', () => {
  it('is taken into use, reported step by step, and then backs up', async () => {
    const site = lunaSite({ settings: { transportMs: 150_000 } });
    site.makeFactoryVault({ isInTransport: true });
    site.addKeys(2);
    const told: string[] = [];
    const report = await prepare(site, {
      transport: strings(site),
      onStep: ({ step, state }) => told.push(`${step}: ${state}`),
    });
    expect(report.verdict).toBe('ready');
    expect(told).toEqual([
      'end transport mode: done',
      'initialise: done',
      'log in: done',
      'set policy 55: done',
      'look again: done',
    ]);
    expect(site.partition(VAULT)).toMatchObject({ label: 'vault', isZeroized: false, policies: { 55: 1 } });
    expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
    expect(site.filesWithPasswords).toEqual([]);
  });

  it('needs an approval that names it', async () => {
    const site = lunaSite();
    site.makeFactoryVault();
    const other = { serial: VAULT, label: 'another' };
    const error = await rejection(prepare(site, {}, [{ action: 'prepare vault', target: other }]));
    expect(error.code).toBe('LUNA_NOT_APPROVED');
    expect(site.log).toEqual([]);
  });

  it('stays in transport mode without the strings that came with it, or with another one', async () => {
    const site = lunaSite();
    site.makeFactoryVault({ isInTransport: true });
    expect((await rejection(prepare(site))).code).toBe('LUNA_HUMAN_NEEDED');
    const transport = { randomUserString: RANDOM, verificationString: 'AAAA-BBBB-CCCC-DDDD' };
    const report = await prepare(site, { transport });
    expect(report).toMatchObject({ verdict: 'not ready', steps: [{ step: 'end transport mode', state: 'declined' }] });
    expect(site.log.filter(({ answer }) => answer !== undefined).map(({ answer }) => answer)).toEqual(['quit']);
    expect(site.partition(VAULT).isInTransport).toBe(true);
  });

  it('stays in transport mode where its string changed on the way', async () => {
    const site = lunaSite();
    site.makeFactoryVault({ isInTransport: true });
    const transport = strings(site);
    site.replace(VAULT, { transportFailures: 1 });
    expect(await prepare(site, { transport })).toMatchObject({ verdict: 'not ready' });
  });

  it('is initialised only where it has nothing to lose', async () => {
    const site = lunaSite();
    site.makeFactoryVault();
    site.change(VAULT, ({ archives }) => {
      archives.push({ name: 'old', hash: '', domain: 'one', totalBytes: 1 });
    });
    expect((await rejection(prepare(site))).code).toBe('LUNA_REFUSED');
    site.change(VAULT, (vault) => void vault.archives.splice(0));
    site.replaceRole(VAULT, 'so', { isInitialised: true });
    expect((await rejection(prepare(site))).code).toBe('LUNA_REFUSED');
    site.replace(VAULT, { label: 'of somebody else' });
    expect((await rejection(prepare(site))).code).toBe('PARTITION_NOT_FOUND');
    expect(typed(site, 'hsm init')).toEqual([]);
  });

  it('is not ready under the password of somebody else', async () => {
    const site = lunaSite();
    site.replaceRole(VAULT, 'so', { hash: hashOf('of somebody else') });
    expect((await rejection(prepare(site))).code).toBe('PIN_REFUSED');
    expect(typed(site, 'hsm init')).toEqual([]);
  });

  it('keeps its policy where it has backups already', async () => {
    const site = lunaSite();
    site.addKeys(1);
    await backUp(site);
    const report = await prepare(site);
    expect(report.verdict).toBe('not ready');
    expect(statesIn(report)).toEqual(['was done', 'was done', 'done', 'left', 'differs']);
    expect(typed(site, 'hsm changehsmpolicy')).toEqual([]);
  });

  it.each([
    ...(['stm recover', 'hsm init', 'hsm changehsmpolicy'] as const).flatMap((command) =>
      ([0, 1, 'end'] as const).flatMap((at) => [
        { command, at, do: 'die' as const },
        { command, at, do: 'hang' as const },
      ]),
    ),
    { command: 'role login', at: 'end' as const, do: 'die' as const },
  ])('is ready after a second run where $command ($at) did $do in the first', async (fault) => {
    const site = lunaSite({ settings: { policyAsks: true } });
    site.makeFactoryVault({ isInTransport: true });
    const transport = strings(site);
    site.fault({ ...fault, run: 1 });
    const first = await prepare(site, { transport }).catch(({ code }) => code);
    expect(['LUNA_UNREACHED', 'LUNA_OUTCOME_UNKNOWN', 'not ready']).toContain(first.verdict ?? first);
    site.fault();
    const second = await prepare(site, { transport });
    expect(second.verdict).toBe('ready');
    // A device that shows its label was not initialised twice.
    const isInitialisedFirst = fault.command !== 'hsm init' || fault.at === 'end';
    if (isInitialisedFirst) expect(typed(site, 'hsm init')).toHaveLength(1);
    expect(site.partition(VAULT).isZeroized).toBe(false);
  });
});

const keep = (site: LunaSite, { isApproved = true, count = 2 } = {}): Promise<KeepReport> =>
  site.finish(
    site.driver.keepBackups(
      { source: site.source, vault: site.vault, password: site.secret('backup'), keep: count },
      isApproved ? [{ action: 'expire own backups', target: site.vault.address, keep: count }] : [],
    ),
  );

const namesIn = (site: LunaSite): string[] => site.partition(VAULT).archives.map(({ name }) => name);

describe('generations of backups', () => {
  it('are kept by their number, and backups of others are never deleted', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2);
    await backUp(site, 'of somebody else');
    site.change(VAULT, ({ archives }) => {
      archives.push({ name: 'empty', hash: '', domain: 'one', totalBytes: 256 });
    });
    const reports: KeepReport[] = [];
    for (let day = 0; day < 4; day += 1) {
      await site.fakeClock.advance(86_400_000);
      reports.push(await keep(site));
    }
    expect(reports.map(({ backup }) => backup.verdict)).toEqual(Array(4).fill('complete'));
    expect(reports.map(({ deleted }) => deleted)).toEqual([[], [], [reports[0]!.name], [reports[1]!.name]]);
    expect(namesIn(site)).toEqual(['of somebody else', 'empty', reports[2]!.name, reports[3]!.name]);
    expect(reports[3]!.review).toMatchObject({ orphans: ['empty'], cutShort: [], lost: [] });
  });

  it('are named and left where nobody has approved their end', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(1);
    const first = await keep(site, { count: 1 });
    await site.fakeClock.advance(1_000);
    expect((await keep(site, { count: 1, isApproved: false })).due).toEqual([first.name]);
    expect(typed(site, 'partition archive delete')).toEqual([]);
  });

  it('stay where somebody changed them, and are missed where somebody deleted them', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2);
    const [changed, lost] = [await keep(site, { isApproved: false }), await keep(site, { isApproved: false })];
    site.addKey('added', archiveOf(VAULT, changed.name));
    site.change(VAULT, (vault) => void vault.archives.splice(1, 1));
    const { review, deleted } = await keep(site, { count: 1 });
    expect(deleted).toEqual([]);
    expect(review).toMatchObject({ changed: [{ name: changed.name }], lost: [lost.name] });
  });

  it('are not begun where the preflight knows that they will fail', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(1);
    site.replace('154438865287', { policies: { 0: 0, 1: 1, 4: 1, 42: 0 } });
    const error = await rejection(keep(site));
    expect(error).toMatchObject({ code: 'LUNA_REFUSED', hint: expect.stringContaining('wrap') });
    expect(error.message).toContain('private key cloning');
    expect(typed(site, 'partition archive backup')).toEqual([]);
    expect((await site.finish(site.driver.reviewVault(site.vault.address))).neverMade).toEqual([]);
  });

  it('are made by one process at a time', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2);
    site.fault({ command: 'partition archive backup', at: 1, do: 'slow', ms: 100_000 });
    const first = keep(site);
    const second = site.newDriver();
    const order = { source: site.source, vault: site.vault, password: site.secret('backup') };
    expect((await rejection(second.keepBackups({ ...order, keep: 1 }, []))).code).toBe('LUNA_BUSY');
    expect((await rejection(second.backUp({ ...order, partition: 'b' }))).code).toBe('LUNA_BUSY');
    expect((await first).backup.verdict).toBe('complete');
  });
});

const PLACES = [...Array.from({ length: 21 }, (_, at) => at), 'end' as const];

describe('a backup of 20 objects', () => {
  it.each(PLACES)('whose lunacm is killed at %s is reported as it is, and the next one completes', async (at) => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(20);
    site.fault({ command: 'partition archive backup', at, do: 'die', run: 1 });
    const { name, backup } = await keep(site);
    expect(['partial', 'unknown']).toContain(backup.verdict);
    expect(statesOf(backup)['moved'] ?? 0).toBe(site.archived(name).length);
    await expectNext(site, name);
  });

  it.each(PLACES)('whose driver is killed at %s is reported as it is, and the next one completes', async (at) => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(20);
    site.fault({ command: 'partition archive backup', at, do: 'hang', run: 1 });
    const order = { source: site.source, vault: site.vault, password: site.secret('backup'), keep: 2 };
    void site.driver.keepBackups(order, []);
    // People at the PED take their time too.
    while (site.launcher.hangs === 0) await site.fakeClock.advance(1);
    site.killDriver();
    const [name = ''] = namesIn(site);
    await expectNext(site, name);
  });
});

/** The vault is reported as it is, nothing goes without an approval, and with one the next backup is complete. */
async function expectNext(site: LunaSite, name: string): Promise<void> {
  const { cutShort, foreign, complete, freeBytes } = await site.finish(site.driver.reviewVault(site.vault.address));
  const left = namesIn(site);
  expect(cutShort.map((one) => [one.name, one.objectCount])).toEqual(
    left.map((one) => [one, site.archived(one).length]),
  );
  expect([foreign, complete]).toEqual([[], []]);
  // A run that is killed before its end leaves a backup that holds all the space.
  if (freeBytes === 0) {
    expect((await keep(site, { isApproved: false })).backup).toMatchObject({ why: 'noSpace', holder: name });
    expect(namesIn(site)).toEqual([name]);
  }
  const next = await keep(site);
  expect(next.backup.verdict).toBe('complete');
  expect(next.deleted).toEqual(left);
  expect(site.archived(next.name)).toHaveLength(20);
}
