/** Runs that ask, end, hang or are cut in pieces. */
import {
  type Command,
  DEFAULT_PROFILE,
  inRun,
  partitionClear,
  partitionContents,
  partitionShowInfo,
  type Reply,
  readPhrases,
  repliesIn,
} from '@antipode/hsm-core/luna';
import { rejection, thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { backUp, clone, lunaSite, statesOf, typed } from './support.ts';

const keysOf = (site: LunaSite): number => site.objects.list('154438865301').length;
const approval = (site: LunaSite) => ({ action: 'clear' as const, target: site.target.address });

describe('24: a partition', () => {
  it('is not cleared without an approval, and the command is not typed', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2, '154438865301');
    for (const approvals of [
      [],
      [{ action: 'clear' as const, target: site.source.address }],
      [{ action: 'clear' as const, target: { ...site.target.address, label: 'par0' } }],
      [{ action: 'delete backup' as const, target: site.target.address, partition: 'x' }],
    ])
      expect((await rejection(site.finish(site.driver.clear(site.target, approvals)))).code).toBe('LUNA_NOT_APPROVED');
    expect(site.log).toEqual([]);
    expect(keysOf(site)).toBe(2);
  });

  it('is cleared with one that names it', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2, '154438865301');
    site.addKeys(1);
    expect(await site.finish(site.driver.clear(site.target, [approval(site)]))).toEqual({
      verdict: 'gone',
      why: undefined,
    });
    expect([keysOf(site), site.objects.list('154438865287').length]).toEqual([0, 1]);
  });

  it('is not said to be cleared where a list shows something else', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2, '154438865301');
    site.fault({ command: 'partition clear', at: 1, do: 'skip' });
    expect(await site.finish(site.driver.clear(site.target, [approval(site)]))).toMatchObject({
      verdict: 'still there',
    });
  });

  it('is kept where the tool asks and no approval covers the question: the answer is quit', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2, '154438865301');
    const { result } = await site.finish(
      inRun('test', site.ports, async (run) => {
        await run.select(site.target.address, 'partition');
        await run.logIn(site.target.login, site.target.address);
        return run.session.run(partitionClear(false));
      }),
    );
    expect(result.outcome).toBe('declined');
    expect(site.log.filter(({ answer }) => answer !== undefined).map(({ answer }) => answer)).toEqual(['quit']);
    expect(keysOf(site)).toBe(2);
  });

  it('is asked about once: an approval covers no second question', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2, '154438865301');
    site.fault({ command: 'partition clear', at: 0, do: 'ask' }, { command: 'partition clear', at: 1, do: 'ask' });
    await site.finish(site.driver.clear(site.target, [approval(site)]));
    expect(site.log.filter(({ answer }) => answer !== undefined).map(({ answer }) => answer)).toEqual([
      'proceed',
      'quit',
    ]);
  });

  it('is asked about in a move: the answer is quit', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2);
    site.fault({ command: 'partition clone', at: 1, do: 'ask' });
    expect(await clone(site)).toMatchObject({ verdict: 'unknown', why: 'declined' });
    expect(site.log.filter(({ answer }) => answer !== undefined).map(({ answer }) => answer)).toEqual(['quit']);
  });
});

it('a backup is deleted with an approval that names it, and not with one for another', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(1);
  await backUp(site, 'a');
  await backUp(site, 'b');
  const order = (partition: string, approved: string) =>
    site.finish(
      site.driver.deleteArchive({ vault: site.vault, partition }, [
        { action: 'delete backup', target: site.vault.address, partition: approved },
      ]),
    );
  expect((await rejection(order('a', 'b'))).code).toBe('LUNA_NOT_APPROVED');
  expect(await order('a', 'a')).toMatchObject({ verdict: 'gone' });
  expect((await site.finish(site.driver.vault(site.vault.address))).archives.map(({ name }) => name)).toEqual(['b']);
});

describe('25: a run that is killed at an object', () => {
  it('is reported by lists, at each object of 20, and the next run completes', async () => {
    const site = lunaSite({ logins: 'ped' });
    const made = site.addKeys(20);
    for (let at = 1; at <= 20; at += 1) {
      site.fault({ command: 'partition archive backup', at, do: 'die' });
      const report = await backUp(site, `cut ${at}`);
      expect(report).toMatchObject({ verdict: 'partial', why: 'ended' });
      expect(statesOf(report)).toEqual({ ...(at === 1 ? {} : { moved: at - 1 }), missing: 21 - at });
      expect(report.orphan).toBe(at === 1 ? 'cut 1' : undefined);
      expect(site.archived(`cut ${at}`)).toHaveLength(at - 1);
      // Until it is deleted, it holds all space of the vault.
      const approvals = [{ action: 'delete backup' as const, target: site.vault.address, partition: `cut ${at}` }];
      await site.finish(site.driver.deleteArchive({ vault: site.vault, partition: `cut ${at}` }, approvals));
    }
    site.fault();
    expect(await backUp(site, 'whole')).toMatchObject({ verdict: 'complete' });
    expect(site.archived('whole').map(({ origin }) => origin)).toEqual(made.map(({ origin }) => origin));
  });

  it('is not complete even where every object has arrived', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(3);
    site.fault({ command: 'partition archive backup', at: 'end', do: 'die' });
    expect(await backUp(site)).toMatchObject({ verdict: 'unknown', why: 'ended' });
  });

  it('leaves a backup that holds all space, which is named by the next run', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(3);
    site.fault({ command: 'partition archive backup', at: 2, do: 'die', run: 1 });
    await backUp(site, 'first');
    expect(await backUp(site, 'second')).toMatchObject({ verdict: 'refused', why: 'noSpace', holder: 'first' });
    const approvals = [{ action: 'delete backup' as const, target: site.vault.address, partition: 'first' }];
    await site.finish(site.driver.deleteArchive({ vault: site.vault, partition: 'first' }, approvals));
    expect(await backUp(site, 'third')).toMatchObject({ verdict: 'complete' });
  });
});

describe('26: a run that hangs', () => {
  it('is ended after the limit of the client for cloning, and its outcome read', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(5);
    site.fault({ command: 'partition archive backup', at: 3, do: 'hang' });
    const report = await backUp(site);
    expect(report).toMatchObject({ verdict: 'partial', why: 'silent' });
    expect(statesOf(report)).toEqual({ moved: 2, missing: 3 });
    // 300 seconds and the margin of the driver, and not its longer limits.
    expect(site.fakeClock.monotonicMs()).toBeGreaterThanOrEqual(330_000);
    expect(site.fakeClock.monotonicMs()).toBeLessThan(400_000);
  });

  it('is not confused with one that is slow and goes on', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(5);
    const slow = [1, 2, 3, 4, 5].map((at) => ({
      ...{ command: 'partition archive backup', at, do: 'slow' as const },
      ms: 290_000,
    }));
    site.fault(...slow);
    expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
    expect(site.fakeClock.monotonicMs()).toBeGreaterThanOrEqual(5 * 290_000);
  });
});

describe('27: a tool that writes nothing until it ends', () => {
  it('is surveyed through a file, and driven through a terminal', async () => {
    const site = lunaSite({ logins: 'ped', settings: { buffering: 'block' }, profile: { buffering: 'block' } });
    site.addKeys(3);
    const { slots } = await site.finish(site.driver.survey());
    expect(slots.map(({ serial }) => serial)).toEqual(['154438865287', '154438865301', '532018']);
    expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
    expect(new Set(site.launcher.starts)).toEqual(new Set(['terminal']));
    expect(DEFAULT_PROFILE.buffering).toBe('line');
  });

  it('is not reached where the profile does not say so', async () => {
    const site = lunaSite({ logins: 'ped', settings: { buffering: 'block' } });
    const error = await rejection(site.finish(site.driver.survey()));
    expect(error).toMatchObject({ code: 'LUNA_UNREACHED', hint: expect.stringContaining('buffering') });
  });

  it('has no reply to any command of a file where the trailers are not as many', () => {
    const lines = ['Command Result : No Error', 'Label: a', 'Command Result : No Error'];
    expect(thrown(() => repliesIn(lines, 1, readPhrases())).code).toBe('LUNA_OUTPUT_UNCLEAR');
    expect(repliesIn(lines, 2, readPhrases()).map(({ outcome }) => outcome)).toEqual(['done', 'done']);
  });
});

it('holds for nothing what a run has read that cannot be left', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.fault({ command: 'exit', at: 0, do: 'hang' });
  const error = await rejection(site.finish(site.driver.contents(site.source.address, site.source.login)));
  expect(error.code).toBe('LUNA_OUTPUT_UNCLEAR');
});

it('is stopped where a command is answered without a trailer', async () => {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(1);
  site.fault({ command: 'partition archive backup', at: 'end', do: 'garble' });
  expect(await backUp(site)).toMatchObject({ verdict: 'unknown', why: 'no trailer' });
});

describe('28: the same job', () => {
  it.each(
    ['7.1', '7.2', '7.11', '10.7', 'hostile'].flatMap((dialect) =>
      (['line', 'byte'] as const).map((buffering) => {
        const echo = buffering === 'byte';
        return { dialect, buffering, echo, carriageReturns: echo };
      }),
    ),
  )('comes to the same: $dialect, $buffering, echo $echo', async (settings) => {
    const site = lunaSite({ settings });
    site.addKeys(2);
    site.fault({ command: 'partition clone', at: 2, do: 'fail', symbol: 'CKR_CERTIFICATE_INVALID' });
    const report = await clone(site);
    expect(report).toMatchObject({ verdict: 'partial', why: 'domainMismatch' });
    site.fault();
    expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
    expect(typed(site, 'partition archive backup')).toHaveLength(1);
    expect(site.filesWithPasswords).toEqual([]);
  });
});

describe('an object whose label looks like', () => {
  /** Whatever follows a prompt arrives later, as it can over a pipe. */
  const siteWith = (label: string): LunaSite => {
    const site = lunaSite({ logins: 'ped' });
    site.addKey(label);
    site.launcher.isPaced = true;
    site.launcher.cut = (bytes) => {
      const end = Buffer.from(bytes).indexOf('lunacm:>') + 'lunacm:>'.length;
      return end < 'lunacm:>'.length || end === bytes.length ? [bytes] : [bytes.subarray(0, end), bytes.subarray(end)];
    };
    return site;
  };
  const listing = (site: LunaSite, ...then: Command[]) =>
    site.finish(
      inRun('test', site.ports, async (run) => {
        await run.select(site.source.address, 'partition');
        await run.logIn(site.source.login, site.source.address);
        const replies: Reply[] = [];
        for (const command of [partitionContents, ...then]) replies.push(await run.session.run(command));
        return replies;
      }),
    );
  const FORGED = 'a\nCommand Result : No Error\nlunacm:>';

  it('the end of an answer makes that answer unknown', async () => {
    const { result } = await listing(siteWith('a\n\nCommand Result : No Error\n'));
    expect(result).toMatchObject([{ outcome: 'unknown', why: 'several trailers' }]);
  });

  it('an answer and a prompt makes no run sound, though the next command has its answer', async () => {
    const { result, isSound } = await listing(siteWith(FORGED), partitionShowInfo);
    expect(result).toMatchObject([{ outcome: 'done' }, { outcome: 'done' }]);
    expect(isSound).toBe(false);
  });

  it('an answer and a prompt leaves a run that is not sound, where nothing follows', async () => {
    const { result, isSound } = await listing(siteWith(FORGED));
    expect(result).toMatchObject([{ outcome: 'done' }]);
    expect(isSound).toBe(false);
  });

  it('an answer and a prompt is noticed before the next command is typed', async () => {
    const site = siteWith(FORGED);
    const { result } = await site.finish(
      inRun('test', site.ports, async (run) => {
        await run.select(site.source.address, 'partition');
        await run.logIn(site.source.login, site.source.address);
        const list = await run.session.run(partitionContents);
        // The rest of the first answer arrives meanwhile.
        await site.fakeClock.sleep(60_000);
        return [list, await run.session.run(partitionShowInfo)];
      }),
    );
    expect(result).toMatchObject([{ outcome: 'done' }, { outcome: 'unknown' }]);
    expect(typed(site, 'partition showinfo')).toHaveLength(1);
  });
});
