import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, temporaryBase } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { executableHook } from './executable-hook.ts';
import type { RoleChange } from './hook.ts';

const CHANGE: RoleChange = {
  type: 'role-change',
  group: 'payments',
  epoch: 7n,
  site: 'b',
  serial: '0815',
  module: '/usr/lib/m.so',
  tokenLabel: 'pay; $(touch x)',
  previousSite: 'a',
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(temporaryBase(), 'antipode-hooks-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A hook that runs this script. */
function hook(script: string, { clock = systemClock, args = [] as string[] } = {}) {
  const program = join(folder, `hook-${script.length}`);
  writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
  return executableHook({ name: 'dns', command: [program, ...args], timeoutMs: 10_000 }, { clock });
}

describe('a hook that is an executable', () => {
  it('gets the message on its standard input, and its fields as environment variables', async () => {
    const out = join(folder, 'got');
    const { isAccepted } = await hook(`cat > "$1"; env | grep ^ANTIPODE_ | sort >> "$1"`, { args: [out] }).call(CHANGE);
    expect(isAccepted).toBe(true);
    const body = { id: 'role-change/payments/7', ...CHANGE, epoch: '7' };
    expect(execFileSync('cat', [out], { encoding: 'utf8' })).toBe(
      `${JSON.stringify(body)}ANTIPODE_EPOCH=7\nANTIPODE_GROUP=payments\nANTIPODE_MODULE=/usr/lib/m.so\nANTIPODE_PREVIOUS_SITE=a\nANTIPODE_SERIAL=0815\nANTIPODE_SITE=b\nANTIPODE_TOKEN_LABEL=pay; $(touch x)\nANTIPODE_TYPE=role-change\n`,
    );
  });

  it('inherits nothing else of the environment of the coordinator', async () => {
    process.env['DATABASE_URL'] = 'postgres://secret';
    const { isAccepted } = await hook('test -z "$DATABASE_URL"').call(CHANGE);
    delete process.env['DATABASE_URL'];
    expect(isAccepted).toBe(true);
  });

  it('accepts with status 0, and refuses with status 1 and a reason', async () => {
    expect(await hook('exit 0').call(CHANGE)).toEqual({ isAccepted: true, reason: '' });
    const refusal = await hook(String.raw`printf 'frozen until \033[1m4 pm\nand more' >&2; exit 1`).call(CHANGE);
    expect(refusal).toEqual({ isAccepted: false, reason: String.raw`frozen until \u001b[1m4 pm` });
  });

  it('reads no message and writes for ever: it is heard to the end of its limit', async () => {
    const { isAccepted, reason } = await hook('yes no | head -c 3000000; exit 1').call(CHANGE);
    expect([isAccepted, reason]).toEqual([false, 'no']);
  });

  it.each([
    ['another exit status', 'echo broken; exit 3', 'hook dns gave no answer: exit status 3, broken'],
    ['a signal', 'kill -TERM $$', 'hook dns gave no answer: SIGTERM ended it'],
  ])('has not answered by %s', async (_what, script, message) => {
    const error = await rejection(hook(script).call(CHANGE));
    expect([error.code, error.message]).toEqual(['HOOK_FAILED', `[HOOK_FAILED] ${message}`]);
  });

  it('has not answered if it does not start', async () => {
    const program = join(folder, 'absent');
    const absent = executableHook({ name: 'dns', command: [program], timeoutMs: 1_000 }, { clock: systemClock });
    expect((await rejection(absent.call(CHANGE))).message).toContain(`${program} does not start (ENOENT)`);
  });

  it.each([
    ['a program that is being written', 'ETXTBSY', {}],
    ['a text that no environment takes', 'ERR_INVALID_ARG_VALUE', { tokenLabel: 'pay\0ments' }],
    ['a text that is too long for an environment', 'E2BIG', { module: 'm'.repeat(200_000) }],
  ])('has not answered if it does not start by %s', async (_what, code, change) => {
    const program = join(folder, 'busy');
    writeFileSync(program, '#!/bin/sh\n', { mode: 0o700 });
    const writer = code === 'ETXTBSY' ? openSync(program, 'r+') : undefined;
    const busy = executableHook({ name: 'dns', command: [program], timeoutMs: 10_000 }, { clock: systemClock });
    const error = await rejection(busy.call({ ...CHANGE, ...change }));
    if (writer !== undefined) closeSync(writer);
    expect([error.code, error.message]).toEqual(['HOOK_FAILED', expect.stringContaining(`does not start (${code})`)]);
  });

  it('has answered when it ends, even if a daemon that it has started holds its output', async () => {
    const pid = join(folder, 'pid');
    const script = 'setsid sh -c \'echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 1000\' sh "$1" &';
    const answer = await hook(`${script}\nuntil [ -e "$1" ]; do sleep 0.01; done; echo done; exit 0`, {
      args: [pid],
    }).call(CHANGE);
    process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
    expect(answer).toEqual({ isAccepted: true, reason: 'done' });
  });

  it('is ended with all that it has started when its time is over', async () => {
    const clock = new FakeClock();
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const slow = rejection(
      hook('exec 9>"$1"; echo up >&9; sleep 1000 & sleep 1000', { clock, args: [pipe] }).call(CHANGE),
    );
    const reader = createReadStream(pipe);
    await once(reader, 'data');
    // When nobody holds the other end any more.
    const ended = once(reader, 'end');
    await clock.advance(10_000);
    expect((await slow).message).toContain('it took longer than 10000 ms and was ended');
    await ended;
  });

  it('leaves nothing behind in its process group', async () => {
    const pipe = join(folder, 'pipe-2');
    execFileSync('mkfifo', [pipe]);
    const reader = createReadStream(pipe);
    reader.resume();
    const ended = once(reader, 'end');
    expect(await hook('exec 9>"$1"; sleep 1000 & exit 0', { args: [pipe] }).call(CHANGE)).toMatchObject({
      isAccepted: true,
    });
    await ended;
  });
});
