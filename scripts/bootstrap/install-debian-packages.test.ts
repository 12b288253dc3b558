/** The installation of Debian packages on a system of its own: a folder, with an apt-get that tells what it sees. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const SCRIPT = readFileSync(new URL('install-debian-packages.sh', import.meta.url), 'utf8');
/** Docker's images forbid every start; this one lets one service pass, with a code of its own. */
const POLICY = '#!/bin/sh\n[ "$1" = ssh ] && exit 104\nexit 101\n';
const CLUSTER = '# of Debian\ncreate_main_cluster = true\n';

let root = '';
let policy = '';
let cluster = '';
const at = (...parts: string[]): string => join(root, ...parts);
const program = (name: string, text: string): void =>
  writeFileSync(at('bin', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });

beforeEach(() => {
  root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-install-'));
  policy = at('usr/sbin/policy-rc.d');
  cluster = at('etc/postgresql-common/createcluster.conf');
  for (const folder of ['bin', 'run', 'tmp', 'usr/sbin', 'etc/postgresql-common'])
    mkdirSync(at(folder), { recursive: true });
  const script = SCRIPT.replace(/(?<=[ =>])\/(?=usr\/sbin\/|etc\/postgresql-common\/|run\/)/g, `${root}/`)
    .replace('pause_seconds=3', 'pause_seconds=0.05')
    .replace('wait_seconds=600', `wait_seconds=\${WAIT:-600}`);
  expect(script.match(new RegExp(root, 'g'))).toHaveLength(3);
  writeFileSync(at('install.sh'), script);
  program('id', 'echo 0');
  program('update-rc.d', 'echo "update-rc.d $*" >>"$ROOT/calls"');
  aptDoes('');
});
afterEach(() => rmSync(root, { recursive: true }));

/** An apt-get that writes down its words, and whether services are forbidden, and then does `work`. */
function aptDoes(work: string): void {
  program(
    'apt-get',
    `policy="$ROOT/usr/sbin/policy-rc.d"
     state=open; grep -qs antipode "$policy" && state=forbidden
     grep -qs antipode "$ROOT/etc/postgresql-common/createcluster.conf" && state="$state,no-cluster"
     words=$(echo "$*" | sed 's/.*Timeout=[0-9]* //; s/ --yes --no-install-recommends --no-upgrade//')
     echo "$words: $state" >>"$ROOT/calls"
     ${work}`,
  );
}

const calls = (): string[] => (existsSync(at('calls')) ? readFileSync(at('calls'), 'utf8').trim().split('\n') : []);

function start(packages: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn('sh', [at('install.sh'), ...packages], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: `${at('bin')}:${process.env['PATH']}`, ROOT: root, TMPDIR: at('tmp'), ...env },
  });
}

async function ended(child: ChildProcess): Promise<{ status: number | null; stderr: string }> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, stderr };
}

const install = (packages: readonly string[], env: Record<string, string> = {}) => ended(start(packages, env));

/** Originals in the places of the files that are replaced. */
function withOriginals(): void {
  writeFileSync(policy, POLICY, { mode: 0o755 });
  writeFileSync(cluster, CLUSTER, { mode: 0o640 });
}

function expectOriginals(): void {
  expect(readdirSync(at('usr/sbin'))).toEqual(['policy-rc.d']);
  expect(readdirSync(at('etc/postgresql-common'))).toEqual(['createcluster.conf']);
  expect([readFileSync(policy, 'utf8'), readFileSync(cluster, 'utf8')]).toEqual([POLICY, CLUSTER]);
  expect([policy, cluster].map((file) => statSync(file).mode & 0o777)).toEqual([0o755, 0o640]);
  expect(readdirSync(at('tmp'))).toEqual([]);
}

describe('an installation', () => {
  it('downloads first, forbids services and clusters only while it unpacks, and puts everything back', async () => {
    withOriginals();
    expect(await install(['redis-server', 'postgresql'])).toEqual({ status: 0, stderr: '' });
    expect(calls()).toEqual([
      'install --download-only redis-server postgresql: open',
      'install postgresql-common: forbidden',
      'install redis-server postgresql: forbidden,no-cluster',
      'update-rc.d redis-server disable',
    ]);
    expectOriginals();
  });

  it('keeps what the tests bring from starting at the next boot', async () => {
    expect((await install(['nginx', 'knot', 'ldnsutils', 'prometheus', 'openssh-server'])).status).toBe(0);
    expect(calls().filter((call) => call.startsWith('update-rc.d'))).toEqual([
      'update-rc.d knot disable',
      'update-rc.d nginx disable',
      'update-rc.d prometheus disable',
      'update-rc.d ssh disable',
    ]);
  });

  it('leaves no file where there was none, and touches no cluster where PostgreSQL is not wanted', async () => {
    expect((await install(['tree'])).status).toBe(0);
    expect(calls()).toEqual(['install --download-only tree: open', 'install tree: forbidden']);
    expect([...readdirSync(at('usr/sbin')), ...readdirSync(at('etc/postgresql-common'))]).toEqual([]);
  });

  const ASK = `for words in "redis-server start" "--quiet redis-server start" "redis-server.service restart" "postgresql start 15" \\
      "postgresql@15-main.service start" "knot.service restart" "nginx start" "prometheus start" "ssh restart" "cron.service start" "mypostgresql start"; do
      status=0; "$policy" $words || status=$?; echo "$words: $status" >>"$ROOT/answers"
    done`;
  const answers = (): string[] => readFileSync(at('answers'), 'utf8').trim().split('\n').slice(-11);
  const FORBIDDEN = [
    'redis-server start: 101',
    '--quiet redis-server start: 101',
    'redis-server.service restart: 101',
    'postgresql start 15: 101',
    'postgresql@15-main.service start: 101',
    'knot.service restart: 101',
    'nginx start: 101',
    'prometheus start: 101',
  ];

  it('forbids Redis, PostgreSQL, Knot, nginx and Prometheus only', async () => {
    aptDoes(`[ $state = open ] || { ${ASK}; }`);
    await install(['redis-server']);
    expect(answers()).toEqual([...FORBIDDEN, 'ssh restart: 0', 'cron.service start: 0', 'mypostgresql start: 0']);
  });

  it('forbids an SSH server only where it brings one', async () => {
    aptDoes(`[ $state = open ] || { ${ASK}; }`);
    await install(['openssh-server']);
    expect(answers()).toEqual([...FORBIDDEN, 'ssh restart: 101', 'cron.service start: 0', 'mypostgresql start: 0']);
  });

  it('asks the policy that was there about all other services', async () => {
    withOriginals();
    aptDoes(`[ $state = open ] || { ${ASK}; }`);
    await install(['redis-server']);
    expect(answers()).toEqual([...FORBIDDEN, 'ssh restart: 104', 'cron.service start: 101', 'mypostgresql start: 101']);
  });

  it('fetches the lists where the old ones do not do', async () => {
    aptDoes('case "$words" in update) touch "$ROOT/new" ;; *) [ -e "$ROOT/new" ] || exit 100 ;; esac');
    expect((await install(['tree'])).status).toBe(0);
    expect(
      calls()
        .slice(0, 3)
        .map((call) => call.split(':')[0]),
    ).toEqual(['install --download-only tree', 'update', 'install --download-only tree']);
  });

  it('that fails shows what apt-get wrote, and puts everything back', async () => {
    withOriginals();
    aptDoes('case "$words" in "install redis-server") echo "E: no space left"; exit 100 ;; esac');
    const { status, stderr } = await install(['redis-server']);
    expect([status, stderr.includes('E: no space left')]).toEqual([1, true]);
    expectOriginals();
  });
});

describe('another package manager', () => {
  const locked = (file: string, times: number): string =>
    `echo x >>"$ROOT/tries"
     if [ $(wc -l <"$ROOT/tries") -le ${times} ]; then
       echo "E: Could not get lock ${file}. It is held by process 7 (apt-get)"; exit 100
     fi`;

  it.each(['/var/lib/apt/lists/lock', '/var/cache/apt/archives/lock', '/var/lib/dpkg/lock-frontend'])(
    'that holds %s is waited for, with one message, before anything is replaced',
    async (file) => {
      withOriginals();
      aptDoes(locked(file, 3));
      const { status, stderr } = await install(['tree']);
      expect([status, stderr.match(/waiting for it/g)]).toEqual([0, ['waiting for it']]);
      expect(calls().slice(0, 4)).toEqual(Array(4).fill('install --download-only tree: open'));
      expectOriginals();
    },
  );

  it('is not waited for without end', async () => {
    aptDoes(locked('/var/lib/dpkg/lock-frontend', 1_000));
    expect((await install(['tree'], { WAIT: '0' })).status).toBe(1);
  });

  it('is not the reason where a lock cannot be opened', async () => {
    aptDoes(
      'echo "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (30: Read-only file system)"; exit 100',
    );
    const { status, stderr } = await install(['tree']);
    expect([status, stderr.includes('Read-only'), stderr.includes('waiting')]).toEqual([1, true, false]);
  });
});

describe('an installation that is interrupted', () => {
  /** Starts one that stays in its last step, and waits until it is there. */
  async function inItsLastStep(): Promise<ChildProcess> {
    aptDoes(
      'case "$words" in "install redis-server postgresql") mkfifo "$ROOT/here"; echo >"$ROOT/here"; exec sleep 30 ;; esac',
    );
    const child = start(['redis-server', 'postgresql']);
    const wait = spawn('sh', ['-c', `until [ -p '${at('here')}' ]; do sleep 0.02; done; cat '${at('here')}'`]);
    await new Promise((resolve) => wait.once('close', resolve));
    expect(readFileSync(policy, 'utf8')).toContain('antipode');
    expect(readFileSync(cluster, 'utf8')).toContain('antipode');
    return child;
  }

  it.each<[NodeJS.Signals, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ])('by %s puts everything back', async (signal, code) => {
    withOriginals();
    const child = await inItsLastStep();
    process.kill(-child.pid!, signal);
    expect((await ended(child)).status).toBe(code);
    expectOriginals();
  });

  it('by SIGKILL is cleaned up by the next one', async () => {
    withOriginals();
    const child = await inItsLastStep();
    process.kill(-child.pid!, 'SIGKILL');
    await ended(child);
    expect(readFileSync(`${policy}.antipode-saved`, 'utf8')).toBe(POLICY);
    rmSync(at('tmp'), { recursive: true });
    mkdirSync(at('tmp'));
    aptDoes('');
    expect((await install(['tree'])).status).toBe(0);
    expectOriginals();
  });
});

it.each([[[], 2]])('an installation of %j is refused', async (packages, status) => {
  expect((await install(packages)).status).toBe(status);
});
