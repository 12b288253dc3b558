/**
 * The Debian package as an administrator meets it: installed on a machine with systemd, started with PINs as credentials,
 * watched, upgraded, stopped and removed. `ANTIPODE_PACKAGE` names a package that is already built.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { program } from '@antipode/cli';
import { subcommandsOf } from '@antipode/cli/testing';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine, missingForMachine } from '../../support/machine.ts';
import { OFFICER_PIN, temporaryFolder, USER_PIN } from '../../support/tokens.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const UNITS = ['antipode-agent', 'antipode-witness', 'antipode-coordinator'] as const;
const EARLIER = '0.0.9';
const STOP_SECONDS_MAX = 10;
const CERTIFICATES = '/root/places';

const missing = missingForMachine();
if (missing.length > 0) console.error(`The Debian package is not tried: this machine lacks ${missing.join(', ')}.`);

const digestOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** @returns the package */
function build(output: string, ...args: readonly string[]): string {
  mkdirSync(output, { recursive: true });
  const main = join(root, 'scripts/package/main.ts');
  const all = [main, '--quick', '--architecture', ARCHITECTURE, '--output', output, ...args];
  execFileSync(process.execPath, all, { stdio: 'pipe', env: { ...process.env, TMPDIR: output } });
  return join(output, readdirSync(output).find((name) => name.endsWith('.deb')) ?? '');
}

describe.skipIf(missing.length > 0)('the Debian package', { timeout: 180_000 }, () => {
  const folder = temporaryFolder('package');
  const machine = new Machine();
  let current: string;
  let again: string;

  beforeAll(async () => {
    const given = process.env['ANTIPODE_PACKAGE'];
    current = given ?? build(join(folder, 'first'));
    again = build(join(folder, given === undefined ? 'second' : 'first'));
    if (given !== undefined) again = build(join(folder, 'second'));
    const earlier = build(join(folder, 'earlier'), '--revision', EARLIER);
    await machine.boot();
    mkdirSync(machine.path('srv'), { recursive: true });
    copyFileSync(earlier, machine.path('srv/earlier.deb'));
    copyFileSync(current, machine.path('srv/current.deb'));
    rmSync(earlier);
  }, 300_000);
  afterAll(async () => {
    await machine.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const property = (unit: string, name: string): string =>
    machine.must(`systemctl show --value --property=${name} ${unit}.service`);
  async function until(what: string, isSo: () => boolean): Promise<void> {
    const endMs = systemClock.monotonicMs() + 90_000;
    while (!isSo()) {
      if (systemClock.monotonicMs() > endMs)
        throw new Error(`waited too long until ${what}\n${machine.run('journalctl --no-pager | tail -60').output}`);
      await systemClock.sleep(100);
    }
  }
  const install = (file: string): string =>
    machine.must(`DEBIAN_FRONTEND=noninteractive dpkg -i --force-unsafe-io /srv/${file}`);

  it('has the same bytes in two builds, and is described beside it', () => {
    const first =
      process.env['ANTIPODE_PACKAGE'] === undefined ? current : join(folder, 'first', again.split('/').at(-1) ?? '');
    expect(digestOf(again)).toBe(digestOf(first));
    const bom = JSON.parse(readFileSync(again.replace(/\.deb$/, '.cdx.json'), 'utf8'));
    const names = bom.components.map(({ name }: { name: string }) => name);
    expect(bom).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6', metadata: { component: { version } } });
    expect(names).toEqual(expect.arrayContaining(['koffi', 'zod', 'grpc-js', `node-linux-${process.arch}`]));
    expect(names.filter((name: string) => /vitest|typescript|biome|darwin|win32/.test(name))).toEqual([]);
    for (const one of bom.components) {
      expect(one.hashes[0].content, one.name).toMatch(/^[0-9a-f]{128}$/);
      expect(one.licenses, one.name).toHaveLength(1);
    }
    const sums = readFileSync(join(again, '../SHA256SUMS'), 'utf8');
    expect(sums).toContain(`${digestOf(again)}  ${again.split('/').at(-1)}`);
  });

  it('holds sources and licences, and nothing that only a build or a test needs', () => {
    const listed = execFileSync('dpkg-deb', ['-c', again], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
    const lines = listed.trim().split('\n');
    expect(lines.filter((line) => !/ root\/root /.test(line))).toEqual([]);
    const files = lines.map((line) => line.replace(/^.*? \.\//, '').replace(/ -> .*$/, ''));
    expect(files).toEqual(
      expect.arrayContaining([
        'usr/lib/antipode/apps/cli/src/main.ts',
        'usr/share/doc/antipode/copyright',
        'usr/share/man/man1/antipode.1.gz',
      ]),
    );
    const unwanted = /\.test\.ts$|\/testing\/|\.map$|\.d\.[cm]?ts$|musl|\/include\/|\/npm\/|\/@types\/|\/vitest\//;
    expect(files.filter((file) => unwanted.test(file))).toEqual([]);
  });

  it('installs, starts nothing, and runs where nobody has npm', () => {
    install('earlier.deb');
    expect(machine.must("dpkg-query -W -f '${Version} ${db:Status-Abbrev}' antipode")).toBe(`${EARLIER} ii`);
    expect(machine.must('env -i PATH=/usr/bin:/bin antipode --version')).toBe(version);
    for (const unit of UNITS) expect(property(unit, 'ActiveState')).toBe('inactive');
    expect(
      machine.must("stat -c '%U %a' /var/lib/antipode/site /var/lib/antipode/witness /var/lib/antipode/coordinator"),
    ).toBe('antipode-agent 700\nantipode-witness 700\nantipode-coordinator 700');
  });

  it('has a manual page for every command, and completion for three shells', async () => {
    const nouns = subcommandsOf(await program()).map((noun) => noun.name());
    for (const noun of ['', ...nouns]) {
      const page = ['antipode', noun].filter((word) => word !== '').join('-');
      const { status, output } = machine.run(
        `MANWIDTH=80 man --warnings=all -E ascii -l /usr/share/man/man1/${page}.1.gz > /tmp/page && grep -c . /tmp/page`,
      );
      expect([page, status, Number(output) > 5]).toEqual([page, 0, true]);
    }
    const bash = 'usr/share/bash-completion/completions/antipode';
    expect(machine.must(`bash -n /${bash} && echo fine`)).toBe('fine');
    for (const file of ['zsh/vendor-completions/_antipode', 'fish/vendor_completions.d/antipode.fish'])
      expect(existsSync(machine.path(`usr/share/${file}`))).toBe(true);
  });

  it.each(UNITS)('has a unit %s that systemd has nothing to say about, and that is little exposed', (unit) => {
    expect(machine.must(`systemd-analyze verify /usr/lib/systemd/system/${unit}.service`)).toBe('');
    const file = `/usr/lib/systemd/system/${unit}.service`;
    const told = machine.must(`systemd-analyze security --offline=true --threshold=20 --no-pager ${file}`);
    expect(Number(/Overall exposure level[^:]*: ([0-9.]+)/.exec(told)?.[1])).toBeLessThan(2);
  });

  it('starts a coordinator, a witness, and a site that has its PIN as a credential', () => {
    machine.must(`set -e
mkdir ${CERTIFICATES}
cd ${CERTIFICATES}
antipode init authority --folder ca --trust-domain dr.example.org
antipode init coordinator --folder coordinator --authority ca --id main --listen localhost:7400 --timings fast
antipode init site --folder site --authority ca --site a --listen localhost:7401 --coordinator main@localhost:7400 \
  --module /usr/lib/softhsm/libsofthsm2.so --token-label payments \
  --pin-file /run/credentials/antipode-agent.service/payments.pin
antipode init witness --folder witness --authority ca --site w --listen localhost:7402 --coordinator main@localhost:7400
antipode init operator --folder ~/.config/antipode --authority ca --name alice --coordinator main@localhost:7400
for place in site:agent witness:witness coordinator:coordinator; do
  cp -rT "\${place%:*}" "/var/lib/antipode/\${place%:*}"
  chown -R "antipode-\${place#*:}:" "/var/lib/antipode/\${place%:*}"
done
usermod -a -G softhsm antipode-agent
runuser -u antipode-agent -- softhsm2-util --init-token --free --label payments --pin ${USER_PIN} --so-pin ${OFFICER_PIN}
mkdir -p /etc/credstore.encrypted /etc/systemd/system/antipode-agent.service.d
cp /usr/share/doc/antipode/examples/pin.conf /usr/share/doc/antipode/examples/softhsm.conf /etc/systemd/system/antipode-agent.service.d
systemctl daemon-reload`);
    machine.must('systemd-creds encrypt --name=payments.pin - /etc/credstore.encrypted/payments.pin', {
      input: USER_PIN,
    });
    expect(machine.run(`grep -r ${USER_PIN} /etc/credstore.encrypted /etc/systemd/system`).status).toBe(1);
    // Each returns when the service has said that it is ready.
    for (const unit of ['antipode-coordinator', 'antipode-witness', 'antipode-agent'])
      machine.must(`systemctl start ${unit} || { journalctl --no-pager -u ${unit} | tail -40; exit 1; }`);
    for (const unit of UNITS) expect([unit, property(unit, 'ActiveState')]).toEqual([unit, 'active']);
    expect(property('antipode-agent', 'StatusText')).toContain('main: ');
    expect(property('antipode-coordinator', 'StatusText')).toBe('leads');
  });

  it('serves: a partition is initialised beside the agent, and the coordinator hears both sites', async () => {
    machine.must(`antipode-site partition init main --yes`);
    const serial = (): string => JSON.parse(machine.must(`antipode-site partition show-identity main --json`)).serial;
    expect(serial()).toMatch(/^[0-9a-f]{16}$/);
    await until('the coordinator hears both sites', () => {
      const { sites = [] } = JSON.parse(machine.run('antipode status --json').output || '{}');
      return sites.filter(({ state }: { state: string }) => state === 'up').length === 2;
    });
    await until('the agent says that its partition is open', () =>
      /a coordinator has answered; main: open/.test(property('antipode-agent', 'StatusText')),
    );
  });

  it('lets root back up and restore the database, and the service goes on with it', async () => {
    const main = '--config /var/lib/antipode/coordinator/coordinator.yaml';
    machine.must(`antipode coordinator backup --to /root/main.backup ${main}`);
    machine.must(`systemctl stop antipode-coordinator
rm -r /var/lib/antipode/coordinator/data
antipode coordinator restore /root/main.backup --yes ${main}`);
    expect(machine.must('find /var/lib/antipode/coordinator ! -user antipode-coordinator')).toBe('');
    machine.must('systemctl start antipode-coordinator');
    // The backup holds the lease of the process that made it.
    await until('the coordinator leads', () => property('antipode-coordinator', 'StatusText') === 'leads');
    await until('the coordinator hears both sites again', () => {
      const { sites = [] } = JSON.parse(machine.run('antipode status --json').output || '{}');
      return sites.filter(({ state }: { state: string }) => state === 'up').length === 2;
    });
  });

  it('keeps each process in its own user, without rights, and its log without a second time', () => {
    for (const unit of UNITS) {
      const pid = property(unit, 'MainPID');
      const status = machine.must(`cat /proc/${pid}/status`);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      expect(status).toMatch(/^Seccomp:\s+2$/m);
      expect(status).toMatch(/^CapBnd:\s+0+$/m);
      expect(machine.must(`stat -c %U /proc/${pid}`)).toBe(unit);
      expect(
        machine.must(`tr '\\0' '\\n' < /proc/${pid}/environ | grep -c '^NODE_COMPILE_CACHE=/var/cache/antipode' `),
      ).toBe('1');
    }
    const [entry = ''] = machine
      .must("journalctl -u antipode-agent -o json --no-pager | grep 'site agent started'")
      .split('\n');
    expect(JSON.parse(entry)).toMatchObject({
      PRIORITY: '6',
      MESSAGE: expect.stringMatching(/^site agent started site=a/),
    });
  });

  it('is started again when it hangs, and when it is killed', async () => {
    machine.must(`mkdir -p /run/systemd/system/antipode-witness.service.d
printf '[Service]\\nWatchdogSec=1s\\n' > /run/systemd/system/antipode-witness.service.d/quick.conf
systemctl daemon-reload; systemctl restart antipode-witness`);
    const restarts = (): number => Number(property('antipode-witness', 'NRestarts'));
    const pid = property('antipode-witness', 'MainPID');
    await until('a few intervals have passed', () => machine.run('sleep 2.5').status === 0);
    expect([property('antipode-witness', 'MainPID'), restarts()]).toEqual([pid, 0]);
    machine.must(`kill -STOP ${pid}`);
    await until(
      'the watchdog has ended it and it runs again',
      () => restarts() === 1 && property('antipode-witness', 'SubState') === 'running',
    );
    expect(machine.must('journalctl -u antipode-witness --no-pager')).toContain('Watchdog timeout');
    machine.must(`kill -KILL ${property('antipode-witness', 'MainPID')}`);
    await until('it runs again', () => restarts() === 2 && property('antipode-witness', 'SubState') === 'running');
    machine.must('rm -r /run/systemd/system/antipode-witness.service.d; systemctl daemon-reload');
  });

  it('is not started again when its configuration is wrong', () => {
    machine.must(
      'cp /var/lib/antipode/witness/agent.yaml /tmp/kept; echo "unknown: 1" >> /var/lib/antipode/witness/agent.yaml',
    );
    expect(machine.run('systemctl restart antipode-witness').status).not.toBe(0);
    expect(['SubState', 'ExecMainStatus', 'NRestarts'].map((name) => property('antipode-witness', name))).toEqual([
      'failed',
      '2',
      '0',
    ]);
    machine.must('cp /tmp/kept /var/lib/antipode/witness/agent.yaml');
  });

  it('is upgraded: what ran runs again, what did not does not, and everything is where it was', async () => {
    const before = machine.must(
      'cat /proc/sys/kernel/random/boot_id; antipode-site partition show-identity main --json',
    );
    const pid = property('antipode-agent', 'MainPID');
    install('current.deb');
    expect(machine.must("dpkg-query -W -f '${Version} ${db:Status-Abbrev}' antipode")).toBe(`${version} ii`);
    expect(UNITS.map((unit) => property(unit, 'SubState'))).toEqual(['running', 'failed', 'running']);
    expect(property('antipode-agent', 'MainPID')).not.toBe(pid);
    const after = machine.must(
      'cat /proc/sys/kernel/random/boot_id; antipode-site partition show-identity main --json',
    );
    expect(after).toBe(before);
    await until('it serves', () =>
      /a coordinator has answered; main: open/.test(property('antipode-agent', 'StatusText')),
    );
    expect(machine.must('systemctl start antipode-witness && echo fine')).toBe('fine');
  });

  it(`stops within ${STOP_SECONDS_MAX} s, and in order`, () => {
    for (const unit of UNITS) {
      const startedMs = systemClock.monotonicMs();
      machine.must(`systemctl stop ${unit}`);
      expect(systemClock.monotonicMs() - startedMs).toBeLessThan(STOP_SECONDS_MAX * 1_000);
      expect([property(unit, 'Result'), property(unit, 'ExecMainStatus')]).toEqual(['success', '0']);
    }
    machine.must('systemctl start antipode-coordinator antipode-agent antipode-witness');
  });

  it('is removed with its processes, and leaves data and nothing else', () => {
    machine.must('systemctl enable antipode-agent');
    machine.must('dpkg -r antipode');
    expect(machine.run('pgrep -u antipode-agent,antipode-coordinator,antipode-witness').output).toBe('');
    machine.must('dpkg -P antipode');
    const left = machine
      .must(
        'find / -xdev -path /proc -prune -o -path /srv -prune -o -path /root -prune -o -path /work -prune -o -name "*antipode*" -newer /srv/earlier.deb -print',
      )
      .split('\n');
    const ours = ['/etc/systemd/system/antipode-machine.target', '/etc/systemd/system/antipode-agent.service.d'];
    expect(left.filter((path) => !ours.includes(path) && !path.startsWith('/var/lib/antipode'))).toEqual([]);
    for (const file of [
      'site/agent.yaml',
      'site/data/journal.db',
      'coordinator/coordinator.yaml',
      'witness/agent.yaml',
    ])
      expect(statSync(machine.path(`var/lib/antipode/${file}`)).size).toBeGreaterThan(0);
    expect(existsSync(machine.path('usr/lib/antipode'))).toBe(false);
  });
});
