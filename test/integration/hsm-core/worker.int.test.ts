/** The worker process around a real module: what it prints, when it ends, and what a crash leaves of the own keys. */
import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { emptyScratch, initialiseIdentity, openPartition } from '@antipode/hsm-core';
import { type AntipodeError, Log, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { childStartedBy } from '../../support/children.ts';
import { lying } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { makeToken, SOFTHSM_MODULE, spyModule, type TestToken } from '../../support/tokens.ts';

const WORKER = fileURLToPath(import.meta.resolve('@antipode/hsm-core')).replace(/index\.ts$/, 'pkcs11/worker/main.ts');

describe('a worker', () => {
  let token: TestToken;

  beforeEach(() => {
    token = makeToken('worker');
  });

  afterEach(() => token.remove());

  it('keeps the prints of a vendor library out of the output of its parent', () => {
    // OpenSC's spy prints every call, here to the standard output of the process that it is in.
    const config = {
      ...token.config,
      module: spyModule(),
      environment: { ...token.environment, PKCS11SPY: SOFTHSM_MODULE, PKCS11SPY_OUTPUT: '/dev/stdout' },
    };
    const script = `
      import { openPartition } from '@antipode/hsm-core';
      import { silentLog, systemClock } from '@antipode/runtime';
      const provider = await openPartition(${JSON.stringify(config)}, { log: silentLog, clock: systemClock });
      await provider.close();
      console.log('{}');`;
    // Files: what is printed to a socket, as a pipe of Node is one, cannot be opened by its name.
    const files = ['out', 'err'].map((name) => join(token.folder, name));
    spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      stdio: ['ignore', ...files.map((file) => openSync(file, 'w'))],
    });
    const [stdout, stderr] = files.map((file) => readFileSync(file, 'latin1'));
    expect(stdout).toBe('{}\n');
    expect(stderr).toContain('C_Login');
  });

  it('shows a sign of life while the module answers one call after the other, and none where it hangs in one', async () => {
    for (let id = 10; id < 40; id += 1) token.makeAes(String(id));
    const slow = lying(token);
    const STEP_MS = 150;
    // Shorter than the whole list takes, and longer than each call of it.
    const provider = await openPartition(slow.config, { log: silentLog, clock: systemClock, callTimeoutMs: 3_000 });
    try {
      slow.tell({ lie: 'delay', ms: STEP_MS, function: 'C_GetAttributeValue' });
      const startedMs = systemClock.monotonicMs();
      const looking = provider.look({}).then(() => systemClock.monotonicMs() - startedMs);
      let longestMs = 0;
      const ended = new AbortController();
      void looking.finally(() => ended.abort()).catch(() => {});
      while (!ended.signal.aborted) {
        longestMs = Math.max(longestMs, provider.unansweredMs());
        await systemClock.sleep(50);
      }
      const tookMs = await looking;
      expect(tookMs).toBeGreaterThan(3_000);
      // Without a sign of life it would be as long as the whole list.
      expect(longestMs).toBeLessThan(tookMs / 2);

      slow.tell({ lie: 'hang', function: 'C_GetAttributeValue', after: 10 });
      const hanging = provider.look({}).catch((thrown: AntipodeError) => thrown.code);
      expect(await hanging).toBe('HSM_WORKER_LOST');
      expect(provider.isLost()).toBe(true);
    } finally {
      await provider.close();
    }
  });

  it('changes the token in no tenure that is over, even by a call that was on its way when the epoch was persisted', async () => {
    const options = { log: silentLog, clock: systemClock, isFenced: true };
    const label = (name: string) => ({ objectClass: 'certificate', attributes: { label: name } }) as never;
    let provider = await openPartition(token.config, options);
    const codeOf = async (call: Promise<unknown>): Promise<string> =>
      call.then(
        () => 'done',
        (refused: AntipodeError) => refused.code,
      );
    const tenure = (epoch: bigint) => provider.under({ group: 'payments', epoch });
    const objects = async (): Promise<number> => (await provider.inventory()).length;
    try {
      // Nobody has told it the epochs yet.
      expect(await codeOf(tenure(5n).create([label('early')]))).toBe('WRITE_UNFENCED');
      provider.raise([{ group: 'payments', epoch: 5n }]);
      expect(await codeOf(provider.create([label('nameless')]))).toBe('WRITE_UNFENCED');
      expect(await codeOf(tenure(4n).create([label('stale')]))).toBe('EPOCH_STALE');
      expect(await codeOf(tenure(5n).generateReceivingKey(Buffer.alloc(16, 7)))).toBe('done');
      const before = await objects();

      // The look comes first and takes a while. The change has left the agent, and waits for its turn.
      const looking = provider.look({});
      const inFlight = codeOf(tenure(5n).generateReceivingKey(Buffer.alloc(16, 8)));
      provider.raise([{ group: 'payments', epoch: 6n }]);
      await looking;
      expect(await inFlight).toBe('EPOCH_STALE');
      expect(await objects()).toBe(before);

      // A new worker knows no epoch, and changes nothing before it does.
      await provider.close();
      provider = await openPartition(token.config, options);
      expect(await codeOf(tenure(5n).generateReceivingKey(Buffer.alloc(16, 9)))).toBe('WRITE_UNFENCED');
      provider.raise([{ group: 'payments', epoch: 6n }]);
      expect(await codeOf(tenure(5n).generateReceivingKey(Buffer.alloc(16, 9)))).toBe('EPOCH_STALE');
      expect(await objects()).toBe(before);
    } finally {
      await provider.close();
    }
  });

  it('answers with lists of any length, in order', async () => {
    const member = await TestMember.make('long');
    try {
      await enrolTogether([member], { group: 'payments', version: 1 });
      const key = member.keyring.domainKey('payments', 1).handle;
      const values = Array.from({ length: 600 }, (_, index) => Buffer.from(String(index)));
      const tags = await member.provider.tagBytes(key, values);
      expect(tags).toHaveLength(600);
      for (const index of [0, 255, 256, 599])
        expect(await member.provider.tagBytes(key, [values[index]!])).toEqual([tags[index]]);
    } finally {
      await member.close();
    }
  });

  it('that hangs is killed when it is closed, and the hanging call is reported', async () => {
    const lines: string[] = [];
    const log = new Log({ level: 'warn', format: 'text', write: (line) => lines.push(line) });
    let provider!: Awaited<ReturnType<typeof openPartition>>;
    const worker = await childStartedBy(async () => {
      provider = await openPartition(token.config, { log, clock: systemClock, closeTimeoutMs: 200 });
    });
    process.kill(worker, 'SIGSTOP');
    const hung = provider.inventory().catch((error: AntipodeError) => error.code);
    await provider.close();
    expect(await hung).toBe('HSM_WORKER_LOST');
    expect(lines.join()).toContain('inventory');
  });

  it('ends at once if its parent is not the expected one, and not for a parent with the number 1', async () => {
    const stray = fork(WORKER, ['1'], { stdio: 'ignore' });
    expect(await once(stray, 'exit')).toEqual([0, null]);
    // In a container the agent is number 1: the worker's parent is who it should be.
    const child = fork(WORKER, [String(process.pid)], { stdio: 'ignore' });
    const ended = once(child, 'exit').then(() => 'ended');
    expect(await Promise.race([ended, systemClock.sleep(1_000)])).toBeUndefined();
    child.disconnect();
    expect(await ended).toBe('ended');
  });
});

describe('an own key that was made and not recorded', () => {
  it('does not count as an object: it does not hinder a drill, and is not captured', async () => {
    const scratch = await TestMember.make('scratch');
    try {
      await enrolTogether([scratch], { group: 'payments', version: 1 });
      scratch.domainKeys.length = 0;
      await initialiseIdentity({
        provider: scratch.provider,
        prng: systemPrng,
        announce: (_serial, ckaId) => scratch.announced.push(ckaId),
      });
      await scratch.reopen();
      const count = (await scratch.provider.inventory()).length;
      expect([scratch.keyring.ownHandles.size, count]).toEqual([3, 3]);
      expect(await emptyScratch(scratch)).toBe(true);
      expect(await scratch.provider.inventory()).toHaveLength(3);
    } finally {
      await scratch.close();
    }
  });
});
