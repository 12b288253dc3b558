/** The antipode command as people and scripts use it: real processes, exit codes, and what is left behind. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operatorConfigOf } from '../../support/command.ts';
import { TestSystem } from '../../support/system.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const ANTIPODE = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));
const folder = temporaryFolder('cli');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const CACHE = join(folder, 'cache');

function antipode(...args: string[]): Run {
  return antipodeIn({ ...process.env, XDG_CACHE_HOME: CACHE }, ...args);
}

function antipodeIn(env: NodeJS.ProcessEnv, ...args: string[]): Run {
  const { status, stdout, stderr } = spawnSync(ANTIPODE, args, { encoding: 'utf8', cwd: folder, input: '', env });
  return { status, stdout, stderr };
}

/** Processes whose command line or environment names `text`: whoever a demonstration left behind. */
function processesNaming(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
      } catch {
        return false;
      }
    });
}

/** To the group of a process. One that has ended by then needs no second signal. */
function interrupt(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause;
  }
}

describe('a wrong command line', () => {
  it.each([
    [['no-such-verb'], 2],
    [['status', '--config', '/nowhere/operator.yaml'], 2],
    [['group', 'create', 'payments', '--config', '/nowhere/operator.yaml'], 2],
    [['init', 'site', '--folder', 'x'], 2],
    [['completion', 'csh'], 2],
  ])('%j ends with %i, and says why on standard error only', (args, code) => {
    const { status, stdout, stderr } = antipode(...args);
    expect([status, stdout]).toEqual([code, '']);
    expect(stderr.trim()).not.toBe('');
  });

  it('is reported as JSON with --json', () => {
    const { stderr } = antipode('status', '--json', '--config', '/nowhere/operator.yaml');
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'CONFIG_INVALID', hint: expect.any(String) } });
  });
});

describe('what a program compiled', () => {
  const cache = join(CACHE, 'antipode');
  const compiled = join(cache, 'compiled');
  const { NODE_COMPILE_CACHE: _, ...without } = process.env;
  const run = (...args: string[]): Run => antipodeIn({ ...without, XDG_CACHE_HOME: CACHE }, ...args);

  it('is kept in a folder that is closed to everybody else, even if it was open', () => {
    mkdirSync(cache, { recursive: true, mode: 0o777 });
    chmodSync(cache, 0o777);
    expect(run('agent', '--help').status).toBe(0);
    expect((statSync(cache).mode & 0o777).toString(8)).toBe('700');
    expect(readdirSync(cache)).toEqual(['compiled']);
    expect(readdirSync(compiled)).toHaveLength(1);
  });

  const isRoot = process.getuid?.() === 0;
  it.each<[string, string, () => void]>([
    ['by anybody', CACHE, () => chmodSync(CACHE, 0o777)],
    ['by anybody, in what is there already', compiled, () => chmodSync(compiled, 0o770)],
    ...(isRoot ? [['by the user whose it is', CACHE, () => chownSync(CACHE, 65_534, 0)] as const] : []),
  ] as [string, string, () => void][])('is not kept in a folder that can be changed %s', (_how, changed, change) => {
    rmSync(cache, { recursive: true });
    mkdirSync(compiled, { recursive: true, mode: 0o700 });
    change();
    try {
      for (const words of [['agent', '--help'], ['--version']]) expect(run(...words).status).toBe(0);
      expect(readdirSync(compiled)).toEqual([]);
    } finally {
      chmodSync(changed, 0o700);
      if (isRoot) chownSync(CACHE, 0, 0);
    }
    expect(run('--version').status).toBe(0);
    expect(readdirSync(compiled)).toHaveLength(1);
  });

  it('is kept nowhere, and missed by nobody, where there is no such folder', () => {
    for (const env of [{}, { HOME: '/dev/null' }, { XDG_CACHE_HOME: '/dev/null' }]) {
      const { status, stdout, stderr } = antipodeIn(env, 'agent', '--help');
      expect([status, stdout.startsWith('Usage: antipode agent'), stderr]).toEqual([0, true, '']);
    }
  });
});

describe('init', () => {
  it('makes folders once, with keys that only their owner reads, and never overwrites', () => {
    const make = (): Run => antipode('init', 'authority', '--folder', 'ca', '--trust-domain', 'test.example');
    expect(make().status).toBe(0);
    const key = readFileSync(join(folder, 'ca', 'ca.key'), 'utf8');
    const again = make();
    expect([again.status, again.stderr.includes('FILE_EXISTS')]).toEqual([1, true]);
    expect(readFileSync(join(folder, 'ca', 'ca.key'), 'utf8')).toBe(key);
    const modes = execFileSync('stat', ['-c', '%a', join(folder, 'ca', 'ca.key')])
      .toString()
      .trim();
    expect(modes).toBe('600');
  });

  it('names file, line and column of a configuration that is wrong', () => {
    mkdirSync(join(folder, 'bad'), { recursive: true });
    const config = join(folder, 'bad', 'agent.yaml');
    execFileSync('sh', ['-c', `printf 'site: a\\nlisten: here\\n' > '${config}'`]);
    const { status, stderr } = antipode('agent', 'run', '--config', config);
    expect(status).toBe(2);
    expect(stderr).toContain(`${config}:2:9: `);
  });
});

describe('standard output that nobody reads', () => {
  it.each(['--help', 'completion bash'])('ends %s without a word', (args) => {
    const script = `'${ANTIPODE}' ${args} | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect([stdout, stderr]).toEqual(['0\n', '']);
  });
});

it('an answer that cannot be written is an error, told without a stack', () => {
  const script = `'${ANTIPODE}' completion bash > /dev/full; echo "status $?"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  expect(stdout).toBe('status 1\n');
  expect(stderr).toMatch(/^\[FILE_UNWRITABLE\] cannot write to standard output: ENOSPC/);
  expect(stderr).not.toMatch(/^ +at /m);
  const silent = spawnSync('bash', ['-c', `'${ANTIPODE}' status --config /nowhere 2> /dev/full; echo "status $?"`]);
  expect(String(silent.stdout)).toBe('status 2\n');
});

describe('a coordinator that takes a connection and says nothing', () => {
  let server: Server;
  beforeAll(async () => {
    server = createServer(() => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    antipode('init', 'authority', '--folder', 'silent-ca', '--trust-domain', 'test.example');
    const address = `main@127.0.0.1:${(server.address() as AddressInfo).port}`;
    const args = ['--folder', 'silent', '--authority', 'silent-ca', '--name', 'alice', '--coordinator', address];
    expect(antipode('init', 'operator', ...args)).toMatchObject({ status: 0 });
  });
  afterAll(() => server?.close());

  it.each([
    ['status'],
    ['resolve', 'payments'],
    ['group', 'list'],
    ['group', 'show', 'payments'],
    ['drill', 'list'],
    ['scrub', 'list', 'payments'],
  ])('holds up `%s %s` for as long as --timeout says, and not longer', async (...words) => {
    const start = (timeoutS: string) => {
      const args = [...words, '--timeout', timeoutS, '--json', '--config', join(folder, 'silent', 'operator.yaml')];
      const child = spawn(ANTIPODE, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      const stderr: string[] = [];
      child.stderr.setEncoding('utf8').on('data', (text: string) => stderr.push(text));
      return { child, stderr };
    };
    const { child, stderr } = start('0.5');
    // The machine is as busy for one as for the other.
    const patient = start('20').child;
    const [status] = (await once(child, 'close')) as [number];
    expect([status, patient.exitCode]).toEqual([7, null]);
    patient.kill('SIGKILL');
    expect(JSON.parse(stderr.join(''))).toMatchObject({
      error: {
        code: 'TIMED_OUT',
        message: expect.stringMatching(/coordinator main at 127\.0\.0\.1:\d+ in 0\.5 s$/),
        hint: expect.any(String),
      },
    });
  });
});

describe('completion', () => {
  it('offers files after --config in a real bash, and commands elsewhere', async () => {
    const here = join(folder, 'completion');
    mkdirSync(here, { recursive: true });
    writeFileSync(join(here, 'operator-of-alice.yaml'), '');
    writeFileSync(join(here, 'antipode.bash'), antipode('completion', 'bash').stdout);
    const lines = [
      'source ./antipode.bash; antipode() { echo "<$*>"; }',
      'antipode status --config ope\t',
      'antipode status --config=ope\t',
      'antipode gro\tsh\tpayments --js\t',
      'exit',
    ];
    const child = spawn('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], { cwd: here });
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
      // One line at each prompt: what is typed ahead would be echoed twice.
      while (lines.length > 0 && /[$#] $/.test(shown)) {
        shown += '\n';
        child.stdin.write(`${lines.shift()}\n`);
      }
    });
    await new Promise((resolve) => child.once('close', resolve));
    const taken = [...shown.matchAll(/^<(.*)>\r?$/gm)].map(([, words]) => words!.trim());
    expect(taken).toEqual([
      'status --config operator-of-alice.yaml',
      'status --config=operator-of-alice.yaml',
      'group show payments --json',
    ]);
  });
});

describe('with a running system', () => {
  let system: TestSystem;
  beforeAll(async () => {
    system = await TestSystem.start();
  });
  afterAll(() => system?.close());

  const ask = (...args: string[]): Promise<Run> => askAt(join(system.folder, 'operator', 'operator.yaml'), ...args);
  const askAt = async (config: string, ...args: string[]): Promise<Run> => {
    // Asynchronous: the coordinator that answers lives in this very process.
    const child = spawn(ANTIPODE, [...args, '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr] = [[] as string[], [] as string[]];
    child.stdout.setEncoding('utf8').on('data', (text: string) => stdout.push(text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => stderr.push(text));
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { status, stdout: stdout.join(''), stderr: stderr.join('') };
  };

  it('replicates with progress on standard error and data on standard output', async () => {
    await system.makeKey('a', '01');
    const { status, stdout, stderr } = await ask('replicate', 'payments', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ state: { newest: { objectCount: 1 } } });
    await system.untilProtection('protected');
    expect(stderr).toContain('capture: captured');
  });

  it('takes a declaration that is repeated as one with nothing to do, and says how another differs', async () => {
    const seats = ['a', 'b', 'c'].flatMap((site) => ['--member', `${site}=${system.site(site).serial}`]);
    const scratch = ['--scratch', `c=${system.site('c').scratchSerial}`];
    const declare = (...more: string[]) =>
      ask('group', 'create', 'payments', ...seats, ...scratch, '--failover', 'automatic', ...more);
    const again = await declare('--timeout', '2592000');
    expect([again.status, again.stderr]).toEqual([0, 'Group payments is already declared like this. Nothing to do.\n']);
    const other = await declare('--rpo', '60');
    expect([other.status, other.stderr]).toMatchObject([1, expect.stringContaining('rpoMs is 300000, declared 60000')]);
  });

  it('waits for an operation with a time limit of 30 days, which no timer of Node holds', async () => {
    expect((await ask('replicate', 'payments', '--timeout', '2592000')).status).toBe(0);
    expect((await ask('drill', 'run', 'payments', '--timeout', '2592000')).status).toBe(0);
  });

  it('shows a viewer everything, and tells which role an order needs', async () => {
    const address = `main@localhost:${operatorConfigOf(system.folder).port}`;
    const authority = join(system.folder, 'authority');
    const made = (name: string, ...more: string[]) => {
      const own = join(folder, name);
      const args = ['--folder', own, '--authority', authority, '--name', name, '--coordinator', address, ...more];
      expect(antipode('init', 'operator', ...args)).toMatchObject({ status: 0 });
      return join(own, 'operator.yaml');
    };
    const refused = { code: 'OPERATOR_ROLE_INSUFFICIENT', hint: expect.stringContaining('--role') };
    const viewer = made('vera', '--role', 'viewer');
    expect((await askAt(viewer, 'group', 'show', 'payments')).stdout).toContain(system.site('b').serial);
    expect((await askAt(viewer, 'failover', 'payments', '--to', 'b', '--dry-run', '--json')).status).toBe(0);
    for (const order of ['replicate payments', 'group pause payments', 'failover payments --to b --yes']) {
      const { status, stderr } = await askAt(viewer, ...order.split(' '), '--json');
      const message = expect.stringMatching(/needs an operator with role operator; .* vera has role viewer/);
      expect([status, JSON.parse(stderr.trim().split('\n').at(-1)!)]).toMatchObject([
        6,
        { error: { ...refused, message } },
      ]);
    }
    expect((await askAt(made('oscar'), 'replicate', 'payments')).status).toBe(0);
  });

  it('drills, lists, resolves and shows, for people and for programs', async () => {
    const drill = await ask('drill', 'run', 'payments', '--json');
    expect([drill.status, JSON.parse(drill.stdout)]).toMatchObject([0, { passed: true, proof: { proved: 1 } }]);
    expect(JSON.parse((await ask('drill', 'list', '--json')).stdout)).toHaveLength(2);
    expect(JSON.parse((await ask('resolve', 'payments', '--json')).stdout)).toMatchObject({
      site: 'a',
      tokenLabel: 'payments-a',
      serial: system.site('a').serial,
    });
    const status = await system.until('all is well', async () => {
      const answer = await ask('status');
      return answer.status === 0 && answer;
    });
    expect(status.stdout).toMatch(/payments +protected +0 of 1 +a/);
    expect((await ask('group', 'show', 'payments')).stdout).toContain(system.site('b').serial);
  });

  it('says what each rule of a filter would keep at its site, with names at that site only', async () => {
    const rules = ['--exclude-label', 'key 0?', '--exclude-label', 'site-key', '--exclude-id', '01'];
    const seats = ['a', 'b'].flatMap((name) => ['--member', `${name}=${system.site(name).serial}`]);
    const dryRun = await ask('group', 'create', 'other', ...seats, ...rules, '--dry-run', '--json');
    expect(dryRun.status).toBe(0);
    expect(JSON.parse(dryRun.stdout)).toMatchObject({
      site: 'a',
      rules: [
        { kind: 'id', rule: '01', objects: 1, ckaIds: ['01'] },
        { kind: 'label', rule: 'key 0?', objects: 1, ckaIds: ['01'] },
        { kind: 'label', rule: 'site-key', objects: 0 },
      ],
    });
    expect(dryRun.stderr).toMatch(/Warning: .*"site-key" matches no object/);
    expect((await ask('group', 'show', 'other')).status).not.toBe(0);
    const { configFile } = system.site('a');
    const local = await askAt(configFile, 'partition', 'match', 'main', ...rules);
    expect([local.status, local.stdout.includes('key 01')]).toEqual([0, true]);
  });

  it('scrubs every member, and says what it has found', async () => {
    const { status, stdout } = await ask('scrub', 'run', 'payments');
    expect(status).toBe(0);
    for (const site of ['a', 'b', 'c']) expect(stdout).toMatch(new RegExp(`^${site} +sound +1 +1 +0 +0 +0 +0$`, 'm'));
    const list = JSON.parse((await ask('scrub', 'list', 'payments', '--json')).stdout);
    expect(list).toMatchObject(
      ['a', 'b', 'c'].map((site) => ({ site, scrubErrorCode: '', lastScrubMs: expect.any(Number) })),
    );
    await system.deleteKey('c', '01');
    const damaged = await ask('scrub', 'run', 'payments', '--site', 'c', '--json');
    expect([damaged.status, damaged.stderr.includes('DIGEST_MISMATCH')]).toEqual([3, true]);
    expect(JSON.parse(damaged.stdout)).toMatchObject([{ site: 'c', status: 'failed', errorCode: 'DIGEST_MISMATCH' }]);
  });

  it('ends with 7 when the time is over, however short, and lets the work go on', async () => {
    const { status, stderr } = await ask('drill', 'run', 'payments', '--timeout', '0.0005');
    expect([status, stderr.includes('TIMED_OUT')]).toEqual([7, true]);
    // The same drill: a second order of the kind joins the first, and there is all the time that it needs.
    expect((await ask('drill', 'run', 'payments', '--timeout', '9.99')).status).toBe(0);
  });

  it('shows evidence as hexadecimal text that other programs can verify', async () => {
    const [drill] = JSON.parse((await ask('drill', 'list', '--json')).stdout) as [Record<string, string>];
    for (const field of ['signature', 'signer']) expect(drill[field]).toMatch(/^([0-9a-f]{2}){60,}$/);
  });

  it('says what a failover would do, and asks before it does it', async () => {
    const dry = await system.until('nothing is in the way', async () => {
      const answer = await ask('failover', 'payments', '--to', 'b', '--dry-run', '--json');
      return answer.status === 0 && answer;
    });
    expect(JSON.parse(dry.stdout)).toMatchObject({ fromSite: 'a', toSite: 'b', obstacle: '' });
    const unconfirmed = await ask('failover', 'payments', '--to', 'b');
    expect(unconfirmed.status).toBe(2);
    expect(unconfirmed.stderr).toMatch(/moves from a to b.*\n(.*\n)*Site a is fenced/);
    expect((await system.operator.resolve({ group: 'payments' })).site).toBe('a');
    const nobody = await ask('failover', 'payments', '--to', 'nowhere', '--yes');
    // A misspelt name must not lead to an accepted loss.
    expect([nobody.status, nobody.stderr.includes('REQUEST_INVALID')]).toEqual([2, true]);
    const planned = await ask('switchover', 'payments', '--dry-run');
    expect([planned.status, planned.stderr]).toEqual([0, expect.stringMatching(/because .*\n(.*\n)*Expect|can say/)]);
    const idle = await ask('switchover', 'payments', '--cancel');
    expect([idle.status, idle.stderr.includes('no switchover of group payments is under way')]).toEqual([1, true]);
  });

  it('ends with 4 when a key is not protected', async () => {
    const pair = ['--keypairgen', '--key-type', 'EC:prime256v1', '--id', 'f1', '--label', 'stays'];
    await system.site('a').token.toolAsync(...pair);
    await ask('replicate', 'payments');
    await system.untilProtection('partially-protected');
    const { status, stdout } = await ask('status', '--json');
    expect(status).toBe(4);
    expect((await ask('group', 'show', 'payments')).stdout).toContain('unextractable');
    // Its name is shown at its site, and nowhere else.
    const { objectId } = JSON.parse(stdout).groups[0].newest.uncaptured[0] as { objectId: string };
    const config = join(system.site('a').folder, 'agent.yaml');
    // By the id that the coordinator shows, and by its former name.
    for (const command of ['objects', 'find']) {
      const found = await askAt(config, 'partition', command, 'main', objectId.slice(0, 12), '--json');
      expect([found.status, JSON.parse(found.stdout).objects]).toMatchObject([
        0,
        [{ objectId, objectClass: 'private-key', keyType: 'EC prime256v1', ckaId: 'f1', label: 'stays' }],
      ]);
    }
    const nothing = await askAt(config, 'partition', 'objects', 'main', 'ffffffffffff');
    expect([nothing.status, nothing.stderr]).toMatchObject([1, expect.stringContaining('antipode partition objects')]);
  });

  it('lists the objects of a partition at its site while the agent runs', async () => {
    const config = join(system.site('a').folder, 'agent.yaml');
    await system.until('site a has heard who acknowledged key 01', async () => {
      const { stdout } = await askAt(config, 'partition', 'objects', 'main', '--state', 'replicated', '--json');
      const { objects } = JSON.parse(stdout) as { objects: { label: string; acknowledgedBy: string[] }[] };
      return objects.find(({ label }) => label === 'key 01')?.acknowledgedBy.join() === 'b,c';
    });
    const listed = await askAt(config, 'partition', 'objects', 'main', '--json');
    expect(listed.status).toBe(0);
    const { group, role, objects } = JSON.parse(listed.stdout) as { [key: string]: unknown; objects: object[] };
    expect([group, role]).toEqual(['payments', 'active']);
    expect(objects).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          ...{ objectClass: 'private-key', label: 'stays', state: 'uncaptured', reason: 'unextractable' },
          ...{ uses: expect.arrayContaining(['sign']), wayOut: expect.stringContaining('CKA_EXTRACTABLE') },
        }),
        expect.objectContaining({ objectClass: 'secret-key', keyType: 'AES', label: 'key 01', state: 'replicated' }),
      ]),
    );
    const only = await askAt(config, 'partition', 'objects', 'main', '--state', 'uncaptured', '--group', 'payments');
    expect([only.status, only.stdout.includes('stays'), only.stdout.includes('key 01')]).toEqual([0, true, false]);
    const atB = join(system.site('b').folder, 'agent.yaml');
    const replicated = JSON.parse((await askAt(atB, 'partition', 'objects', 'main', 'key 01', '--json')).stdout);
    expect(replicated).toMatchObject({ role: 'standby', objects: [{ label: 'key 01', state: 'replicated' }] });
    const other = await askAt(config, 'partition', 'objects', 'main', '--group', 'other');
    expect([other.status, other.stderr]).toMatchObject([1, expect.stringContaining('in group payments')]);
    const checked = await askAt(config, 'partition', 'check', 'main', '--json');
    expect([checked.status, JSON.parse(checked.stdout)]).toMatchObject([4, { group: 'payments', isProtected: false }]);
  });

  it('names the member that lacks a generation because its site is down, and waits for it where that is asked', async () => {
    await system.stopAgent('c');
    await system.until('site c is down', async () => {
      const { sites } = await system.operator.getStatus({});
      return sites.find(({ site }) => site === 'c')?.state === 'down';
    });
    await system.makeKey('a', 'e1');
    const without = await ask('replicate', 'payments');
    expect([without.status, without.stdout]).toEqual([
      4,
      expect.stringContaining('NOT acknowledged by c (standby, its site is down)'),
    ]);
    const { status, stdout } = await ask('replicate', 'payments', '--json');
    expect([status, JSON.parse(stdout).lackingSites]).toEqual([4, ['c']]);
    await system.until('the wait is over before c has it', async () => {
      // On a busy machine the capture alone can take that long.
      const strict = await ask('replicate', 'payments', '--require', 'all', '--timeout', '2');
      return strict.status === 7 && strict.stderr.includes('not acknowledged by c');
    });
    await system.startAgent('c');
    expect((await ask('replicate', 'payments', '--require', 'all')).status).toBe(0);
    expect((await ask('replicate', 'payments')).stdout).not.toContain('NOT acknowledged');
  });

  it('warns, and ends with 4, when the active site cannot be relied on', async () => {
    const well = await system.until('the active site can be relied on', async () => {
      const answer = await ask('resolve', 'payments');
      return answer.status === 0 && answer;
    });
    expect(well.stderr).toBe('');
    // Without a majority nobody takes over, so the doubt stays.
    for (const site of ['b', 'c', 'a']) await system.stopAgent(site);
    const ill = await system.until('the loss is noticed', async () => {
      const answer = await ask('resolve', 'payments', '--json');
      return answer.status === 4 ? answer : undefined;
    });
    expect(JSON.parse(ill.stdout)).toMatchObject({ site: 'a', siteState: expect.stringMatching(/suspect|down/) });
    expect(ill.stderr).toMatch(/^Warning: site a is (suspect|down)/);
  });
});

describe('the demonstration', () => {
  it('holds, and says what it measured in its last line', () => {
    const { status, stdout } = antipode('demo', '--json');
    const result = JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
    expect(status).toBe(0);
    expect(result).toMatchObject({
      ok: true,
      replication: { acknowledgedBy: ['b', 'c'], secondRoundObjects: 1 },
      drill: { failed: 0 },
      failover: { from: 'a', to: 'b', epoch: 2 },
      verifiedByOpenssl: true,
      rejoined: true,
      lost: 0,
    });
    expect(result.keys.uncaptured.map(({ reason }: { reason: string }) => reason)).toEqual(['unextractable']);
    expect(result.drill.proved).toBe(result.keys.captured + 1);
    expect(result.failover.recoveryTimeMs).toBeGreaterThan(0);
  });

  it.each<[string, { signals: NodeJS.Signals[]; until: RegExp; isPrivate?: boolean }]>([
    // In the middle: agents, HSM workers, PostgreSQL and Redis are up.
    ['Ctrl-C', { signals: ['SIGINT'], until: /acknowledged by/ }],
    ['Ctrl-C twice', { signals: ['SIGINT', 'SIGINT'], until: /site c, partition main/ }],
    ['SIGTERM', { signals: ['SIGTERM'], until: /site a, partition main/ }],
    // Where we are root, PostgreSQL is another user, and must find its way all the same.
    [
      'a closed terminal, with umask 077 and a TMPDIR that nobody else may enter',
      { signals: ['SIGHUP'], until: /a is active/, isPrivate: true },
    ],
  ])('leaves no process and no folder behind on %s', async (_what, { signals, until, isPrivate = false }) => {
    const own = join(folder, 'private');
    mkdirSync(own, { recursive: true, mode: 0o700 });
    const child = spawn('sh', ['-c', `umask ${isPrivate ? '077' : '022'}; exec '${ANTIPODE}' demo`], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...(isPrivate ? { TMPDIR: own } : {}) },
    });
    let text = '';
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
    const root = await new Promise<string>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          const match = /live in (\S+?),/.exec(text);
          if (match !== null && until.test(text)) resolve(match[1]!);
        });
      void closed.then(() => reject(new Error(text)));
    });
    expect(processesNaming(root).length).toBeGreaterThan(0);
    for (const signal of signals) {
      interrupt(child.pid!, signal);
      await systemClock.sleep(20);
    }
    expect(await closed).toBe(130);
    expect(text).not.toContain('Failed at');
    while (processesNaming(root).length > 0) await systemClock.sleep(50);
    expect(() => readdirSync(root)).toThrow();
    expect(readdirSync(own)).toEqual([]);
  });

  it('names the step that failed, and what a process wrote before it ended', () => {
    const programs = join(folder, 'programs');
    mkdirSync(programs, { recursive: true });
    writeFileSync(join(programs, 'redis-server'), '#!/bin/sh\necho no memory today >&2\nexit 1\n', { mode: 0o755 });
    const { status, stdout, stderr } = spawnSync(ANTIPODE, ['demo', '--json'], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${programs}:${process.env['PATH']}` },
    });
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      step: expect.stringContaining('trust'),
      code: 'PROGRAM_MISSING',
      message: expect.stringMatching(/coordinator has ended: .*no memory today/),
    });
    expect(stderr).toMatch(/^Failed at: The partitions come to trust each other/m);
    expect(JSON.parse(stderr.trimEnd().split('\n').at(-1)!)).toMatchObject({
      error: { code: 'PROGRAM_MISSING', hint: expect.stringContaining('Install') },
    });
  });
});
