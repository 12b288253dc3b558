/** Backup, restore and clone, where the tool reports more, less or something else than what happened. */
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { backUp, clone, lunaSite, restore, statesOf, typed } from './support.ts';

const contents = (site: LunaSite) => site.finish(site.driver.contents(site.source.address, site.source.login));

describe('15: the objects of a partition', () => {
  it.each([0, 1, 5_000])('are listed: %i of them', async (count) => {
    const site = lunaSite({ logins: 'ped' });
    const made = site.addKeys(count);
    const { objects, info } = await contents(site);
    expect(objects.map(({ uid }) => uid)).toEqual(made.map(({ uid }) => uid));
    expect(info.objectCount).toBe(count);
  });

  const LABELS = [
    'a: b',
    'Slot Id -> 0',
    'lunacm:>',
    'Command Result : No Error',
    'Please attend to the PED.',
    "Type 'proceed' to continue, or 'quit' to quit now ->",
    'Enter password for co:',
    'Number of objects:  0',
    'Schlüssel für 鍵',
    '',
    'CKR_PIN_LOCKED',
  ];

  it.each(['7.1', '10.7', 'hostile'])('keep labels that look like output, in the dialect %s', async (dialect) => {
    const site = lunaSite({ settings: { dialect, buffering: 'byte' } });
    for (const label of LABELS) site.addKey(label);
    expect((await contents(site)).objects.map(({ label }) => label)).toEqual(LABELS);
    expect(site.pedEvents).toEqual([]);
    expect(await clone(site)).toMatchObject({ verdict: 'complete' });
  });

  it.each([
    ['the end of the command', 'a\n\nCommand Result : No Error\n\nlunacm:>'],
    ['the end of the command and the beginning of the next', 'a\nCommand Result : No Error\nlunacm:>\n'],
    [
      'another object',
      `a\n    Handle: 7\n    Object Type: Private Key\n    Object UID: ${'ab'.repeat(12)}\n\n    Label: b`,
    ],
    ['a list without objects', 'a\n\n        Number of objects:  0\n\nCommand Result : No Error\n\nlunacm:>'],
    ['a question', "a\nType 'proceed' to continue, or 'quit' to quit now ->"],
  ])('are not listed at all where a label with line breaks looks like %s', async (_what, label) => {
    const site = lunaSite({ logins: 'ped', settings: { dialect: '7.1' } });
    site.addKeys(2);
    site.addKey(label);
    site.addKeys(1);
    const error = await rejection(contents(site));
    expect(['LUNA_OUTPUT_UNCLEAR', 'LUNA_UNREACHED', 'LUNA_REFUSED']).toContain(error.code);
  });
});

describe('16: a backup', () => {
  it.each([true, false])(
    'is complete when the vault lists every object, with their UIDs kept: %s',
    async (keepsUid) => {
      const site = lunaSite({ logins: 'ped' });
      site.replace('532018', { keepsUid });
      const made = site.addKeys(5);
      const report = await backUp(site);
      expect(report).toMatchObject({ verdict: 'complete', why: undefined });
      expect(statesOf(report)).toEqual({ moved: 5 });
      expect(site.archived('backup 1').map(({ origin }) => origin)).toEqual(made.map(({ origin }) => origin));
      expect(typed(site, 'partition archive backup')).toHaveLength(1);
    },
  );

  it('takes no name that the vault has already', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(1);
    await backUp(site);
    expect((await rejection(backUp(site))).code).toBe('LUNA_REFUSED');
    expect(typed(site, 'partition archive backup')).toHaveLength(1);
  });
});

describe('17: objects of an old partition that fail while the run goes on', () => {
  it.each(['failure', 'ok'] as const)('make the backup partial, with the trailer %s', async (partialTrailer) => {
    const site = lunaSite({ logins: 'ped', settings: { partialTrailer } });
    site.replace('154438865287', { version: 'old' });
    const made = site.addKeys(5);
    site.fault({ command: 'partition archive backup', at: 3, do: 'fail', symbol: 'CKR_OPERATION_NOT_ALLOWED' });
    const report = await backUp(site);
    expect(report).toMatchObject({ verdict: 'partial', why: 'restricted' });
    expect(report.objects.filter(({ state }) => state !== 'moved')).toMatchObject([
      { state: 'failed', refusal: 'restricted', object: { uid: made[2]!.uid } },
    ]);
  });
});

it('18: a newer partition stops at the first object that fails: the rest was not attempted', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(5);
  site.fault({ command: 'partition archive backup', at: 3, do: 'fail', symbol: 'CKR_OPERATION_NOT_ALLOWED' });
  const report = await backUp(site);
  expect(report.verdict).toBe('partial');
  expect(statesOf(report)).toEqual({ moved: 2, failed: 1, 'not attempted': 2 });
});

describe('19: another cloning domain', () => {
  it.each(['old', 'V1'] as const)('is named, and the empty backup is found and left alone: %s', async (version) => {
    const site = lunaSite({ logins: 'ped' });
    site.replace('154438865287', { version });
    site.replace('532018', { domain: 'two' });
    site.addKeys(3);
    expect(await backUp(site)).toMatchObject({ verdict: 'refused', why: 'domainMismatch', orphan: 'backup 1' });
    expect(typed(site, 'partition archive delete')).toEqual([]);
    const { archives } = await site.finish(site.driver.vault(site.vault.address));
    expect(archives).toMatchObject([{ name: 'backup 1', objectCount: 0 }]);
  });
});

describe('a key that an application makes while a move runs', () => {
  /** Right before the run that acts: the second one of a job that lists its source first. */
  const madeMeanwhile = (site: LunaSite, label: string, { isTakenBack = false } = {}): void => {
    const { ports } = site;
    let runs = 0;
    site.useDriver({
      ...ports,
      launcher: {
        launchFile: (commands) => ports.launcher.launchFile(commands),
        launch: (way) => {
          runs += 1;
          if (runs === 2) site.addKey(label);
          if (runs === 5 && isTakenBack) {
            site.objects.clear('154438865287');
            site.addKey('old');
          }
          return ports.launcher.launch(way);
        },
      },
    });
  };

  it.each([true, false])('is counted, and the move of the others is complete (UIDs kept: %s)', async (keepsUid) => {
    const site = lunaSite({ logins: 'ped' });
    for (const serial of ['532018', '154438865301']) site.replace(serial, { keepsUid });
    site.addKey('old');
    madeMeanwhile(site, 'new');
    expect(await backUp(site)).toMatchObject({ verdict: 'complete', added: 1 });
    expect(site.archived('backup 1')).toHaveLength(2);
  });

  it('does not stand for one that looks the same and did not arrive', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.replace('532018', { keepsUid: false });
    site.addKey('same');
    madeMeanwhile(site, 'same');
    site.fault({ command: 'partition archive backup', at: 1, do: 'skip' });
    expect(await backUp(site)).toMatchObject({ verdict: 'unknown', why: 'alike' });
  });

  it('explains no object that the source does not have', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKey('old');
    madeMeanwhile(site, 'new', { isTakenBack: true });
    expect(await backUp(site)).toMatchObject({ verdict: 'unknown', why: 'surplus' });
  });
});

it('20: names the backup that holds the space, before anything is sent', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(3);
  site.change('532018', ({ archives, totalBytes }) => {
    archives.push({ name: 'crashed', hash: '', domain: 'one', totalBytes });
  });
  expect(await backUp(site)).toMatchObject({ verdict: 'refused', why: 'noSpace', holder: 'crashed' });
  expect(typed(site, 'partition archive backup')).toEqual([]);
});

it('20: understands a vault that finds out later that it has no space', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(3);
  const symbol = 'CKR_CONTAINER_OBJECT_STORAGE_FULL';
  site.fault({ command: 'partition archive backup', at: 0, do: 'fail', symbol });
  expect(await backUp(site)).toMatchObject({ verdict: 'refused', why: 'noSpace', code: symbol });
});

it('21: a restore with one object too few has failed, though its trailer reports success', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(4);
  await backUp(site);
  site.fault({ command: 'partition archive restore', at: 2, do: 'skip' });
  const report = await restore(site);
  expect(report).toMatchObject({ verdict: 'partial', why: 'short' });
  expect(statesOf(report)).toEqual({ moved: 3, missing: 1 });
});

describe('22: objects that are there already', () => {
  it('are reported as duplicates, and never replaced', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.replace('154438865301', { version: 'old' });
    site.addKeys(3);
    await backUp(site);
    expect(await restore(site)).toMatchObject({ verdict: 'complete' });
    const report = await restore(site);
    expect(report).toMatchObject({ verdict: 'refused', why: 'duplicate' });
    expect(statesOf(report)).toEqual({ failed: 3 });
    expect(site.log.filter(({ typed: line }) => line?.includes('-replace'))).toEqual([]);
  });

  it('do not pass for restored ones, even with the same type and label', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKey('same');
    site.addKey('same', '154438865301');
    await backUp(site);
    site.fault({ command: 'partition archive restore', at: 1, do: 'skip' });
    expect(await restore(site)).toMatchObject({ verdict: 'partial', why: 'short' });
  });
});

it('23: another masking key at the target makes no restore complete', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(2);
  await backUp(site);
  site.replace('154438865301', { maskingKey: 'b2'.repeat(12) });
  expect(await restore(site, 'backup 1', 'a1'.repeat(12))).toMatchObject({ verdict: 'partial', why: 'maskingKey' });
});

it('a clone goes to the partition with the serial number of the target, and from that of the source', async () => {
  const site = lunaSite({ logins: 'ped' });
  const made = site.addKeys(3);
  expect(await clone(site)).toMatchObject({ verdict: 'complete' });
  expect(site.objects.list('154438865301').map(({ origin }) => origin)).toEqual(made.map(({ origin }) => origin));
});
