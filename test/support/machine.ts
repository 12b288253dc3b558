/**
 * A machine of its own for a test, in namespaces: the files of this one or of another root under an overlay, its own
 * network, and systemd as its first process. Everything that happens there is gone when it is closed. Needs root on Linux.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@antipode/runtime';
import { typed } from './terminal.ts';
import { temporaryFolder } from './tokens.ts';

const SYSTEMD = '/lib/systemd/systemd';
const BOOT_MS_MAX = 30_000;
const COMMAND_MS_MAX = 300_000;
/** Of a login as root. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  TERM: 'dumb',
};

/** Nothing of this machine is started there but the journal. */
const TARGET = `[Unit]
Requires=systemd-journald.service
After=systemd-journald.service
`;

/** Programs that are missing here; empty where a machine can be made. */
export function missingForMachine(): string[] {
  const programs = ['unshare', 'nsenter', 'ip', 'dpkg-deb'].filter(
    (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0,
  );
  return [
    ...programs,
    ...(existsSync(SYSTEMD) ? [] : [SYSTEMD]),
    ...(process.geteuid?.() === 0 ? [] : ['root']),
    ...(readFileSync('/proc/filesystems', 'utf8').includes('overlay') ? [] : ['overlay']),
    ...(spawnSync('unshare', ['-mpfC', 'true']).status === 0 ? [] : ['namespaces']),
  ];
}

export interface Ended {
  readonly status: number;
  readonly output: string;
}

let made = 0;

export class Machine {
  readonly #folder = temporaryFolder('machine');
  readonly #name = `antipode-machine-${process.pid}-${made++}`;
  readonly #base: string;
  #unshare: ChildProcess | undefined;
  #pid = 0;

  /** @param base the files it begins with, which it does not change; a fresh Debian is `debianRoot()` */
  constructor(base = '/') {
    this.#base = base;
  }

  /** Its first process, as this machine counts. */
  get pid(): number {
    return this.#pid;
  }

  /** Where a file of the machine lies that was made there: outside, to be put in or read. */
  path(file: string): string {
    return join(this.#folder, 'upper', file);
  }

  async boot(): Promise<void> {
    for (const name of ['upper', 'work', 'root']) mkdirSync(join(this.#folder, name));
    mkdirSync(this.path('etc/systemd/system'), { recursive: true });
    writeFileSync(this.path('etc/systemd/system/antipode-machine.target'), TARGET);
    const script = join(this.#folder, 'boot.sh');
    writeFileSync(script, this.#script());
    // It ends with the test, even if that is killed.
    const unshare = ['unshare', '-m', '-p', '-n', '-f', '--kill-child', 'sh', script];
    this.#unshare = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...unshare], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [this.#unshare.stdout, this.#unshare.stderr])
      stream?.on('data', (bytes: Buffer) => {
        said += bytes.toString();
      });
    const endMs = systemClock.monotonicMs() + BOOT_MS_MAX;
    while (systemClock.monotonicMs() < endMs && this.#unshare.exitCode === null) {
      this.#pid = this.#firstProcess();
      if (this.#pid > 0 && this.run('systemctl is-active --quiet antipode-machine.target').status === 0) return;
      await systemClock.sleep(50);
    }
    throw new Error(`the machine does not boot: ${said.slice(-2_000)}`);
  }

  /** A line for the shell, as root, there. */
  run(line: string, { input = '' }: { input?: string } = {}): Ended {
    const { status, stdout, stderr } = spawnSync('nsenter', [...this.#inside, '/bin/sh', '-c', line], {
      encoding: 'utf8',
      input,
      timeout: COMMAND_MS_MAX,
      killSignal: 'SIGKILL',
      maxBuffer: 64 * 1024 * 1024,
      env: ENVIRONMENT,
    });
    return { status: status ?? -1, output: `${stdout}${stderr}`.trim() };
  }

  /** Lines as somebody types them there, at a terminal if there are questions to answer. They end at the first that fails. */
  async type(lines: string, answers: readonly string[] = []): Promise<Ended> {
    const file = '/tmp/typed.sh';
    this.must(`cat > ${file}`, { input: `set -e\n${lines}` });
    const words = answers.length === 0 ? ['sh', file] : ['script', '-qec', `sh ${file}`, '/dev/null'];
    const { status, printed } = await typed(['nsenter', ...this.#inside, ...words], answers, {
      environment: ENVIRONMENT,
      timeoutMs: COMMAND_MS_MAX,
    });
    return { status, output: printed.trim() };
  }

  get #inside(): readonly string[] {
    return ['-t', String(this.#pid), '-m', '-p', '-n', '-C', '-r', '-w', '--'];
  }

  /** The same, where it must go well. @returns what it printed */
  must(line: string, options: { input?: string } = {}): string {
    const { status, output } = this.run(line, options);
    if (status !== 0) throw new Error(`status ${status} of: ${line}\n${output.slice(-4_000)}`);
    return output;
  }

  async close(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      if (this.#unshare === undefined || this.#unshare.exitCode !== null) resolve();
      else this.#unshare.once('exit', () => resolve());
    });
    // The first process of the machine ends with it, and all others with that one.
    if (this.#pid > 0 && existsSync(`/proc/${this.#pid}`)) process.kill(this.#pid, 'SIGKILL');
    this.#unshare?.kill('SIGKILL');
    await ended;
    while (this.#pid > 0 && existsSync(`/proc/${this.#pid}`)) await systemClock.sleep(10);
    for (const hierarchy of hierarchies()) removeGroup(join(hierarchy, this.#name));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The child of `unshare`, which becomes systemd. */
  #firstProcess(): number {
    const pid = this.#unshare?.pid;
    try {
      const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
      return readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'systemd' ? child : 0;
    } catch {
      return 0;
    }
  }

  /**
   * Not a plain chroot, in which the system makes no user namespaces. Mounts are shared, as systemd makes them outside of
   * containers: a service sees its credentials by that. A control group of its own, as the root that systemd
   * sees: what it makes there is found and removed again.
   */
  #script(): string {
    const root = join(this.#folder, 'root');
    const groups = hierarchies().map((one) => join(one, this.#name));
    const isUnified = existsSync('/sys/fs/cgroup/cgroup.controllers');
    const mountGroups = isUnified
      ? ['mount -t cgroup2 cgroup2 /sys/fs/cgroup']
      : [
          'mount -t tmpfs tmpfs /sys/fs/cgroup',
          'mkdir /sys/fs/cgroup/systemd',
          'mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd',
        ];
    return `set -e
mount --make-rprivate /
ip link set lo up
${groups.map((one) => `mkdir -p ${one}; cat /sys/fs/cgroup/cpuset/cpuset.cpus > ${one}/cpuset.cpus 2> /dev/null || true; cat /sys/fs/cgroup/cpuset/cpuset.mems > ${one}/cpuset.mems 2> /dev/null || true; echo $$ > ${one}/cgroup.procs`).join('\n')}
mount -t overlay overlay -o lowerdir=${this.#base},upperdir=${this.#folder}/upper,workdir=${this.#folder}/work ${root}
mount -t proc proc ${root}/proc
mount -t tmpfs tmpfs ${root}/run
mount -t tmpfs tmpfs ${root}/tmp
mount --bind /dev ${root}/dev
mount -t tmpfs tmpfs ${root}/dev/shm
exec unshare -C sh -c '
mount -t sysfs sysfs ${root}/sys
${mountGroups.map((line) => line.replaceAll('/sys/', `${root}/sys/`)).join('\n')}
cd ${root}
pivot_root . mnt
exec chroot . /bin/sh -c "umount -l /mnt; mount --make-rshared /; exec /usr/bin/env -i container=antipode PATH=/usr/sbin:/usr/bin:/sbin:/bin ${SYSTEMD} --system --unit=antipode-machine.target --show-status=no"
'
`;
  }
}

/** Where control groups are made: one place, or one for each controller. */
function hierarchies(): string[] {
  const base = '/sys/fs/cgroup';
  if (existsSync(join(base, 'cgroup.controllers'))) return [base];
  return readdirSync(base)
    .map((name) => join(base, name))
    .filter((path) => existsSync(join(path, 'cgroup.procs')));
}

function removeGroup(group: string): void {
  if (!existsSync(group)) return;
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeGroup(join(group, entry.name));
  spawnSync('rmdir', [group]);
}
