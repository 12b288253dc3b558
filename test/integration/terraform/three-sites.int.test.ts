/**
 * `infra/terraform/examples/three-sites`, really applied: over SSH to four fresh Debian machines, from nothing to a group
 * that is replicated, drilled and failed over. Between these: a second apply, changes, drift, wrong values, `destroy`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianRoot, missingForDebianRoot } from '../../support/debian-root.ts';
import { missingForMachine } from '../../support/machine.ts';
import type { Ended } from '../../support/machine-network.ts';
import { SshHosts } from '../../support/ssh-hosts.ts';
import { findTerraform, INFRA, TERRAFORM_ENVIRONMENT } from '../../support/terraform.ts';
import { SOFTHSM_MODULE, temporaryFolder, USER_PIN } from '../../support/tokens.ts';
import { filesInZip } from '../../support/zip.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const SITES = ['a', 'b', 'c'] as const;
const PORT = 7401;
/** Prints the time from nothing to a group that is replicated and drilled, for docs/howto/terraform.md. */
const TELLS_TIMES = process.env['ANTIPODE_TELL_TIMES'] === '1';

const terraform = findTerraform();
const missing = [
  ...new Set([...missingForMachine(), ...missingForDebianRoot()]),
  ...(terraform === undefined ? ['terraform or tofu'] : []),
  ...['sshd', 'ssh', 'ssh-keygen'].filter((name) => !hasProgram(name)),
];
if (missing.length > 0)
  console.error(`Terraform is not applied to machines: this machine lacks ${missing.join(', ')}.`);

function hasProgram(name: string): boolean {
  const folders = ['/usr/sbin', '/usr/bin', '/usr/local/bin'];
  return folders.some((folder) => readdirSync(folder).includes(name));
}

describe.skipIf(missing.length > 0)('the Terraform example of three sites', { timeout: 600_000 }, () => {
  const folder = temporaryFolder('terraform');
  const infra = join(folder, 'infra');
  const example = join(infra, 'examples/three-sites');
  const places = join(folder, 'places');
  const hosts = new SshHosts(join(folder, 'operator'), { base: missing.length > 0 ? '/' : debianRoot() });
  const outputs: string[] = [];
  let startedMs = 0;
  let variables: Record<string, unknown> = {};

  beforeAll(async () => {
    cpSync(INFRA, infra, { recursive: true, filter: (path) => !path.includes('.terraform') });
    await hosts.boot(['main', ...SITES]);
    // A host has its HSM, and the coordinator's has its servers, before anybody comes with Terraform.
    for (const name of ['main', ...SITES]) {
      const packages = name === 'main' ? 'postgresql redis-server' : 'softhsm2 opensc';
      const install = 'DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends';
      hosts.machine(name).must(`${install} ${packages}`);
    }
    for (const site of SITES) hosts.makeTokens(site, site === 'c' ? ['payments', 'scratch'] : ['payments']);
    mkdirSync(join(folder, 'tmp'));
    const main = join(root, 'scripts/package/main.ts');
    execFileSync(
      process.execPath,
      [main, '--quick', '--architecture', ARCHITECTURE, '--output', join(folder, 'package')],
      { stdio: 'pipe', env: { ...process.env, TMPDIR: join(folder, 'tmp') } },
    );
  }, 900_000);
  afterAll(async () => {
    await hosts.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const packageFile = (): string =>
    join(folder, 'package', readdirSync(join(folder, 'package')).find((name) => name.endsWith('.deb')) ?? '');

  async function run(...words: string[]): Promise<Ended> {
    const env = { ...TERRAFORM_ENVIRONMENT, TF_CLI_ARGS: '', TERRAFORM: terraform!, TMPDIR: join(folder, 'tmp') };
    const ended = await hosts.network.run(words, { cwd: example, env });
    outputs.push(ended.stdout, ended.stderr);
    return ended;
  }
  const terra = (verb: string, ...words: string[]): Promise<Ended> => run(terraform!, verb, '-no-color', ...words);
  async function apply(...words: string[]): Promise<Ended> {
    writeFileSync(join(example, 'terraform.tfvars.json'), JSON.stringify(variables));
    return terra('apply', '-auto-approve', ...words);
  }
  async function applied(...words: string[]): Promise<string> {
    const { status, stdout, stderr } = await apply(...words);
    if (status !== 0) throw new Error(`apply failed: ${stdout.slice(-3_000)}\n${stderr.slice(-3_000)}`);
    return /Apply complete! Resources: (.*)\./.exec(stdout)?.[1] ?? stdout;
  }
  /** The addresses that a plan with the present values changes. */
  async function planned(...words: string[]): Promise<string[]> {
    writeFileSync(join(example, 'terraform.tfvars.json'), JSON.stringify(variables));
    const { status, stdout, stderr } = await terra('plan', '-detailed-exitcode', ...words);
    if (status === 1) throw new Error(`plan failed: ${stdout}\n${stderr}`);
    const found = [...stdout.matchAll(/^ {2}# (\S+) .*\b(?:will|must) be/gm)].map(([, address]) => address!);
    expect(status).toBe(found.length === 0 ? 0 : 2);
    return found;
  }
  async function antipode(...words: string[]): Promise<unknown> {
    const main = join(root, 'apps/cli/src/main.ts');
    const { status, stdout, stderr } = await hosts.network.run(
      [process.execPath, main, ...words, '--json', '--config', join(places, 'operator/operator.yaml')],
      { cwd: folder, env: { NO_COLOR: '1' } },
    );
    if (status !== 0)
      throw new Error(`status ${status} of antipode ${words.join(' ')}: ${stderr}\n${stdout.slice(-2_000)}`);
    return JSON.parse(stdout);
  }
  const init = (...words: string[]): void => {
    execFileSync(process.execPath, [join(root, 'apps/cli/src/main.ts'), 'init', ...words], {
      cwd: places,
      stdio: 'pipe',
    });
  };
  const at = (site: string, line: string): string => hosts.machine(site).must(line);
  const address = (name: string): string => hosts.host(name).address;

  /** The work of an administrator before the first apply. */
  function prepare(): void {
    mkdirSync(places);
    const coordinator = `main@${address('main')}:7400`;
    init('authority', '--folder', 'ca', '--trust-domain', 'dr.example.org');
    const listen = `${address('main')}:7400`;
    const door = `${address('main')}:7402`;
    init('issuer', '--folder', 'issuer', '--authority', 'ca', '--name', 'main');
    init(
      ...['coordinator', '--folder', 'main', '--authority', 'ca', '--id', 'main', '--listen', listen],
      ...['--issuer', 'issuer', '--join', door],
    );
    const alice = ['--name', 'alice', '--role', 'security', '--coordinator', coordinator];
    init('operator', '--folder', 'operator', '--authority', 'ca', ...alice);
    // One site by a folder, as before there were tokens; the others join.
    const token = ['--module', SOFTHSM_MODULE, '--token-label', 'payments', '--pin-file', '/nowhere'];
    const own = ['--site', 'a', '--listen', `${address('a')}:${PORT}`, '--coordinator', coordinator];
    init('site', '--folder', 'a', '--authority', 'ca', ...own, ...token);
    for (const site of SITES) {
      const pins = join(folder, 'pins', site);
      mkdirSync(pins, { recursive: true });
      for (const name of ['payments.pin', 'scratch.pin'])
        writeFileSync(join(pins, name), `${USER_PIN}\n`, { mode: 0o600 });
    }
    const partition = (name: string, label: string) => ({
      name,
      module: SOFTHSM_MODULE,
      token_label: label,
      pin: `${label}.pin`,
      role: name === 'scratch' ? 'scratch' : 'member',
    });
    variables = {
      package_file: packageFile(),
      identities: places,
      pins: join(folder, 'pins'),
      ssh_identity_file: hosts.keyFile,
      ssh_known_hosts_file: hosts.knownHostsFile,
      ssh_config_file: '/dev/null',
      timings: 'fast',
      coordinator: { ssh_host: address('main'), listen, join: door },
      operator_config: join(places, 'operator/operator.yaml'),
      antipode: join(root, 'bin/antipode'),
      sites: Object.fromEntries(
        SITES.map((site) => [
          site,
          {
            ssh_host: address(site),
            listen: `${address(site)}:${PORT}`,
            partitions: [partition('main', 'payments'), ...(site === 'c' ? [partition('scratch', 'scratch')] : [])],
          },
        ]),
      ),
      drop_ins: { softhsm: '[Service]\nSupplementaryGroups=softhsm\nReadWritePaths=/var/lib/softhsm\n' },
    };
  }

  it('goes from nothing to four healthy hosts with one apply', async () => {
    startedMs = systemClock.monotonicMs();
    prepare();
    expect(await terra('init')).toMatchObject({ status: 0 });
    expect(await applied()).toBe('24 added, 0 changed, 0 destroyed');
    for (const [name, unit] of [
      ['main', 'antipode-coordinator'],
      ...SITES.map((site) => [site, 'antipode-agent']),
    ] as const)
      expect(at(name!, `systemctl is-enabled ${unit}; systemctl is-active ${unit}`)).toBe('enabled\nactive');
  });

  it('changes nothing with a second apply', async () => {
    expect(await planned()).toEqual([]);
    expect(await applied()).toBe('0 added, 0 changed, 0 destroyed');
  });

  it('leads to a group that is replicated and drilled', async () => {
    const seats = new Map<string, { serial: string; trust: string }>();
    const identities = [...SITES.map((site) => [site, 'main'] as const), ['c', 'scratch'] as const];
    for (const [site, partition] of identities) {
      at(site, `antipode-site partition init ${partition} --yes`);
      const { serial, identitySha256 } = JSON.parse(
        at(site, `antipode-site partition show-identity ${partition} --json`),
      );
      seats.set(`${site} ${partition}`, { serial, trust: `${site}=${serial}=${identitySha256}` });
    }
    for (const site of SITES) {
      const peers = [...seats].filter(([name]) => !name.startsWith(site));
      const options = peers.map(
        ([name, { trust }]) => `${name.endsWith('scratch') ? '--scratch-peer' : '--peer'} ${trust}`,
      );
      at(site, `antipode-site peer trust payments ${options.join(' ')}`);
    }
    at(
      'a',
      `runuser -u antipode-agent -G softhsm -- pkcs11-tool --module ${SOFTHSM_MODULE} --token-label payments \
      --login --pin ${USER_PIN} --keygen --key-type AES:32 --label orders --id 01 --extractable`,
    );
    const members = SITES.flatMap((site) => ['--member', `${site}=${seats.get(`${site} main`)?.serial}`]);
    const scratch = ['--scratch', `c=${seats.get('c scratch')?.serial}`];
    await antipode('group', 'create', 'payments', ...members, ...scratch, '--failover', 'automatic');
    await antipode('replicate', 'payments', '--require', 'all');
    await antipode('drill', 'run', 'payments');
    const seconds = Math.round((systemClock.monotonicMs() - startedMs) / 1_000);
    if (TELLS_TIMES) console.error(`From nothing to a replicated, drilled group: ${seconds} s.`);
  });

  const host = (site: string): string => (site === 'main' ? 'module.coordinator' : `module.site["${site}"]`);
  const resource = (site: string, name: string): string => `${host(site)}.module.host.terraform_data.${name}`;
  const processOf = (site: string): string =>
    at(site, `systemctl show --value --property=MainPID antipode-${site === 'main' ? 'coordinator' : 'agent'}`);
  /** Variables of this test with another value at a site. */
  function atSite(site: string, change: Record<string, unknown>): Record<string, unknown> {
    const sites = variables['sites'] as Record<string, Record<string, unknown>>;
    return { ...variables, sites: { ...sites, [site]: { ...sites[site], ...change } } };
  }
  /** An apply that must fail with this code. @returns what it said */
  async function refused(code: string, change: Record<string, unknown>, ...words: string[]): Promise<string> {
    const kept = variables;
    variables = change;
    const { status, stdout, stderr } = await apply(...words);
    variables = kept;
    const said = `${stdout}${stderr}`;
    // Our codes begin so. The code of a service, from its journal, may be there too.
    const codes = [...said.matchAll(/antipode: \[([A-Z_]+)\]|^\W*\[(PIN_FILE_MISSING)\]/gm)].map(([, ...found]) =>
      found.join(''),
    );
    expect([status, [...new Set(codes)], said.slice(-1_500)]).toEqual([
      1,
      expect.arrayContaining([code]),
      said.slice(-1_500),
    ]);
    // Terraform breaks the lines of an error, and draws a bar before each.
    return said.replace(/\s*\n[│ ]*/g, ' ');
  }

  it('holds no PIN, no key, and no digest of them in state, plan and output', async () => {
    const everything = ['configuration', 'identity', 'service'].map((name) => `-replace=${resource('b', name)}`);
    const pin = `-replace=${resource('b', 'pin["payments.pin"]')}`;
    await planned('-out=plan', ...everything, pin);
    const plan = [...filesInZip(readFileSync(join(example, 'plan'))).values()].map((file) => file.toString('latin1'));
    const state = readFileSync(join(example, 'terraform.tfstate'), 'utf8');
    const shown = [await terra('show', '-json', 'plan'), await terra('show', '-json'), await terra('output', '-json')];
    const texts = [...plan, state, ...shown.map(({ stdout }) => stdout), ...outputs];
    expect(plan.length).toBeGreaterThan(3);
    expect(texts.filter((text) => text.includes('terraform_data')).length).toBeGreaterThan(6);

    const files = ['main/tls.key', 'main/issuer.key', 'a/tls.key', 'ca/ca.key', 'operator/tls.key'];
    const keys = [...files.map((file) => join(places, file)), hosts.keyFile].map((file) => readFileSync(file, 'utf8'));
    for (const site of ['b', 'c']) keys.push(at(site, 'cat /var/lib/antipode/site/tls.key'));
    const lines = keys.flatMap((key) => key.split('\n')).filter((line) => /^[A-Za-z0-9+/=]{40,}$/.test(line));
    expect(lines.length).toBeGreaterThan(7);
    const contents = [USER_PIN, `${USER_PIN}\n`, ...keys];
    const digests = contents.flatMap((text) =>
      ['md5', 'sha1', 'sha256', 'sha512'].flatMap((name) =>
        (['hex', 'base64'] as const).map((form) => createHash(name).update(text).digest(form)),
      ),
    );
    const encoded = contents.map((text) => Buffer.from(text).toString('base64').replace(/=+$/, ''));
    const secrets = [USER_PIN, 'PRIVATE KEY', 'antipode-site-1.', ...lines, ...digests, ...encoded];
    expect(secrets.filter((secret) => texts.some((text) => text.includes(secret)))).toEqual([]);
    // The digest of a file without secrets is found where it must be: so the search would find the others.
    const authority = createHash('sha256').update(readFileSync(packageFile())).digest('hex');
    expect(texts.filter((text) => text.includes(authority)).length).toBeGreaterThan(2);
    rmSync(join(example, 'plan'));
  });

  it('changes what a variable says, and only that', async () => {
    const before = ['main', ...SITES].map(processOf);
    variables = atSite('b', { http: '127.0.0.1:7409' });
    expect(await planned()).toEqual([resource('b', 'configuration')]);
    expect(await applied()).toBe('1 added, 0 changed, 1 destroyed');
    expect(at('b', 'grep http /var/lib/antipode/site/agent.yaml')).toContain('127.0.0.1:7409');
    const after = ['main', ...SITES].map(processOf);
    expect(after.map((pid, index) => pid === before[index])).toEqual([true, true, false, true]);
    expect(await planned()).toEqual([]);
  });

  it('runs no step when only a path on the machine of the operator changes', async () => {
    const key = join(folder, 'operator/other-name');
    symlinkSync(hosts.keyFile, key);
    variables = { ...variables, ssh_identity_file: key };
    const before = ['main', ...SITES].map(processOf);
    expect(await applied()).toBe('0 added, 24 changed, 0 destroyed');
    expect(['main', ...SITES].map(processOf)).toEqual(before);
  });

  it('gives a service its old files back when it is not healthy with new ones', async () => {
    const before = at('b', 'sha256sum /var/lib/antipode/site/agent.yaml');
    const [partition] = (variables['sites'] as Record<string, { partitions: Record<string, unknown>[] }>)['b']!
      .partitions;
    const wrong = atSite('b', { partitions: [{ ...partition, serial: 'more than sixteen characters' }] });
    const said = await refused('CONFIGURATION_REFUSED', wrong);
    expect(said).toContain('CONFIG_INVALID');
    expect(at('b', 'sha256sum /var/lib/antipode/site/agent.yaml')).toBe(before);
    expect(at('b', 'systemctl is-active antipode-agent')).toBe('active');
    // The right values again: the failed step is repeated, and finds its work done.
    const pid = processOf('b');
    expect(await planned()).toEqual([resource('b', 'configuration')]);
    await applied();
    expect(processOf('b')).toBe(pid);
    expect(await planned()).toEqual([]);
  });

  it('finds what was changed at the hosts, shows the repair in a plan, and repairs it', async () => {
    expect(await run('sh', '../../drift')).toMatchObject({ status: 0, stdout: '', stderr: '' });
    at('main', 'echo changed >> /usr/lib/antipode/LICENSE');
    at('a', 'systemctl disable antipode-agent');
    at('b', 'echo "# changed" >> /var/lib/antipode/site/agent.yaml');
    at(
      'c',
      'mv /etc/credstore.encrypted/scratch.pin /root; rm /etc/systemd/system/antipode-agent.service.d/softhsm.conf',
    );
    const { status, stdout, stderr } = await run('sh', '../../drift');
    const changed = [
      resource('main', 'package'),
      resource('a', 'service'),
      resource('b', 'configuration'),
      resource('c', 'configuration'),
      resource('c', 'pin["scratch.pin"]'),
    ].sort();
    const options = stdout.trim().split('\n');
    expect([status, options.sort()]).toEqual([2, changed.map((one) => `-replace=${one}`)]);
    expect(stderr.match(/\[DRIFT\]/g)).toHaveLength(5);
    expect(stderr).toContain('/var/lib/antipode/site/agent.yaml');
    // A plan alone does not look at hosts.
    expect(await planned()).toEqual([]);
    expect((await planned(...options)).sort()).toEqual(changed);
    expect(await applied(...options)).toBe('5 added, 0 changed, 5 destroyed');
    expect(await run('sh', '../../drift')).toMatchObject({ status: 0, stdout: '', stderr: '' });
    expect(await planned()).toEqual([]);
  });

  describe('says what is wrong with a host, and changes nothing there:', () => {
    const packageOfB = `-target=${resource('b', 'package')}`;
    const renamed = (name: string): Record<string, unknown> => {
      const file = join(folder, 'tmp', name);
      rmSync(file, { force: true });
      symlinkSync(packageFile(), file);
      return { ...variables, package_file: file };
    };
    const stateOf = (site: string): string =>
      at(
        site,
        `dpkg-query -W -f '\${Version} \${db:Status-Status}' antipode; systemctl is-active antipode-agent
cat /var/lib/antipode/terraform/package; sha256sum /var/lib/antipode/site/agent.yaml /etc/credstore.encrypted/*`,
      );
    async function unchanged(site: string, work: () => Promise<string>): Promise<string> {
      const before = [stateOf(site), processOf(site)];
      const said = await work();
      expect([stateOf(site), processOf(site)]).toEqual(before);
      return said;
    }
    const replaced = [packageOfB, `-replace=${resource('b', 'package')}`];

    it('it cannot be reached', async () => {
      hosts.network.link(hosts.machine('b'), 'down');
      const { status, stderr } = await run('sh', '../../drift');
      const found = await refused('HOST_UNREACHABLE', variables, ...replaced);
      hosts.network.link(hosts.machine('b'), 'up');
      expect(found).toContain(address('b'));
      expect([status, stderr.includes('[HOST_UNREACHABLE] b')]).toEqual([1, true]);
    });

    it('its key is another one', async () => {
      const known = join(folder, 'operator/other-hosts');
      const own = readFileSync(hosts.knownHostsFile, 'utf8').replaceAll(address('b'), 'b');
      writeFileSync(known, own.replaceAll(address('c'), address('b')));
      await unchanged('b', () =>
        refused('HOST_KEY_UNKNOWN', { ...variables, ssh_known_hosts_file: known }, ...replaced),
      );
    });

    it('nobody has said what its key is', async () => {
      const known = join(folder, 'operator/no-hosts');
      writeFileSync(known, '');
      await unchanged('b', () =>
        refused('HOST_KEY_UNKNOWN', { ...variables, ssh_known_hosts_file: known }, ...replaced),
      );
    });

    it('it does not take the key of the operator', async () => {
      at('b', 'mv /root/.ssh/authorized_keys /root/.ssh/kept');
      await unchanged('b', () => refused('HOST_REFUSES_LOGIN', variables, ...replaced));
      at('b', 'mv /root/.ssh/kept /root/.ssh/authorized_keys');
    });

    it('systemd has not started it', async () => {
      at('b', 'mv /run/systemd/system /run/systemd/away');
      await refused('HOST_WITHOUT_SYSTEMD', variables, ...replaced);
      at('b', 'mv /run/systemd/away /run/systemd/system');
    });

    it('the package is for another architecture', async () => {
      const other = ARCHITECTURE === 'amd64' ? 'arm64' : 'amd64';
      const name = packageFile().split('/').at(-1)!.replace(ARCHITECTURE, other);
      await unchanged('b', () => refused('PACKAGE_ARCHITECTURE', renamed(name), ...replaced));
    });

    it('a newer version is installed', async () => {
      await unchanged('b', () => refused('PACKAGE_NEWER', renamed(`antipode_0.0.1_${ARCHITECTURE}.deb`), ...replaced));
    });

    it('somebody else has installed another version', async () => {
      at('b', 'mv /var/lib/antipode/terraform/package /root');
      await refused('PACKAGE_OTHER', renamed(`antipode_99.0.0_${ARCHITECTURE}.deb`), ...replaced);
      at('b', 'mv /root/package /var/lib/antipode/terraform/package');
    });

    it('the package is not what its name says', async () => {
      await unchanged('b', () => refused('PACKAGE_OTHER', renamed(`antipode_99.0.0_${ARCHITECTURE}.deb`), ...replaced));
    });

    it('a PIN file is missing, or others may read it', async () => {
      const file = join(folder, 'pins/b/payments.pin');
      renameSync(file, `${file}.away`);
      await unchanged('b', () => refused('PIN_FILE_MISSING', variables, ...replaced));
      renameSync(`${file}.away`, file);
      chmodSync(file, 0o640);
      await unchanged('b', () => refused('PIN_FILE_EXPOSED', variables, ...replaced));
      chmodSync(file, 0o600);
    });

    it('its certificate is for another site', async () => {
      const other = join(folder, 'other-places');
      cpSync(places, other, { recursive: true });
      cpSync(join(places, 'a'), join(other, 'b'), { recursive: true });
      const identity = resource('b', 'identity');
      const words = [`-target=${identity}`, `-replace=${identity}`];
      await unchanged('b', () => refused('IDENTITY_OTHER', { ...variables, identities: other }, ...words));
    });

    it('and goes on from there once it is right', async () => {
      const before = [stateOf('b'), processOf('b')];
      await applied();
      expect([stateOf('b'), processOf('b')]).toEqual(before);
      expect(await planned()).toEqual([]);
    });
  });

  it('sends PINs again with a higher revision', async () => {
    const before = at('b', 'sha256sum /etc/credstore.encrypted/payments.pin');
    variables = { ...variables, pin_revision: 2 };
    const pins = [...SITES.map((site) => resource(site, 'pin["payments.pin"]')), resource('c', 'pin["scratch.pin"]')];
    expect((await planned()).sort()).toEqual(pins.sort());
    expect(await applied()).toBe('4 added, 0 changed, 4 destroyed');
    expect(at('b', 'sha256sum /etc/credstore.encrypted/payments.pin')).not.toBe(before);
    await antipode('replicate', 'payments', '--require', 'all');
  });

  it('upgrades one host after the other, and stops at the first that is not healthy', async () => {
    const newer = join(folder, 'newer');
    const main = join(root, 'scripts/package/main.ts');
    const words = ['--quick', '--architecture', ARCHITECTURE, '--revision', `${version}+1`, '--output', newer];
    execFileSync(process.execPath, [main, ...words], {
      stdio: 'pipe',
      env: { ...process.env, TMPDIR: join(folder, 'tmp') },
    });
    variables = { ...variables, package_file: join(newer, `antipode_${version}+1_${ARCHITECTURE}.deb`) };
    const hostsOf = ['main', ...SITES];
    expect((await planned()).sort()).toEqual(hostsOf.map((site) => resource(site, 'package')).sort());
    const upgrade = (...names: string[]): Promise<Ended> => run('sh', '../../upgrade', ...names, '-auto-approve');
    const versions = (): string[] => hostsOf.map((site) => at(site, "dpkg-query -W -f '${Version}' antipode"));
    expect(await upgrade('nowhere')).toMatchObject({ status: 1, stderr: expect.stringContaining('[HOST_UNKNOWN]') });
    const before = hostsOf.map(processOf);
    at('c', 'cp -p /var/lib/antipode/site/agent.yaml /root; echo "unknown: 1" >> /var/lib/antipode/site/agent.yaml');
    const { status, stderr } = await upgrade('b', 'c', 'a', 'main');
    expect([status, stderr.includes('[SERVICE_NOT_HEALTHY]'), stderr.includes('[UPGRADE_STOPPED] c')]).toEqual([
      ...[1, true, true],
    ]);
    expect(versions()).toEqual([version, version, `${version}+1`, `${version}+1`]);
    expect([processOf('main'), processOf('a')]).toEqual(before.slice(0, 2));
    // The next host would have been the active one.
    at('c', 'cp -p /root/agent.yaml /var/lib/antipode/site/agent.yaml; systemctl start antipode-agent');
    const upgraded = processOf('b');
    expect(await upgrade()).toMatchObject({ status: 0 });
    expect(versions()).toEqual(hostsOf.map(() => `${version}+1`));
    expect(processOf('b')).toBe(upgraded);
    // Outputs are of no host.
    expect(await applied()).toBe('0 added, 0 changed, 0 destroyed');
    expect(await planned()).toEqual([]);
    await antipode('replicate', 'payments', '--require', 'all');
  });

  const active = async (): Promise<string> =>
    ((await antipode('resolve', 'payments').catch(() => ({}))) as { site?: string }).site ?? '';
  async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const endMs = systemClock.monotonicMs() + 120_000;
    while (!(await isSo())) {
      if (systemClock.monotonicMs() > endMs) throw new Error(`waited too long until ${what}`);
      await systemClock.sleep(200);
    }
  }

  it('fails over by itself when the link to the active site is cut', async () => {
    // With timings that are fast, an agent that was upgraded slowly has lost its lease. The next failover would wait.
    await antipode('group', 'resume', 'payments');
    const first = await active();
    const others = SITES.filter((site) => site !== first) as string[];
    expect(others).toHaveLength(2);
    hosts.network.link(hosts.machine(first), 'down');
    await until('another site serves the group', async () => others.includes(await active()));
    hosts.network.link(hosts.machine(first), 'up');
    expect(await planned()).toEqual([]);
  });

  it('disables every unit with destroy, and leaves everything that a site returns with', async () => {
    const kept = (site: string): string =>
      at(
        site,
        `cd /var/lib; sha256sum antipode/site/tls.key antipode/site/pins.yaml /etc/credstore.encrypted/*
ls -d antipode/site/data/journal.db antipode/site/data/generations.db; find softhsm/tokens -name '*.object' | wc -l`,
      );
    const before = SITES.map(kept);
    const { status, stdout } = await terra('destroy', '-auto-approve');
    expect([status, /Destroy complete! Resources: (\d+) destroyed/.exec(stdout)?.[1]]).toEqual([0, '24']);
    for (const site of SITES) {
      const states = hosts
        .machine(site)
        .run('systemctl is-enabled antipode-agent; systemctl is-active antipode-agent').output;
      expect(states).toBe('disabled\ninactive');
    }
    expect(SITES.map(kept)).toEqual(before);
    expect(
      at('main', "dpkg-query -W -f '${db:Status-Status}' antipode; ls -d /var/lib/antipode/coordinator/data"),
    ).toBe('installed/var/lib/antipode/coordinator/data');
    expect(JSON.parse(readFileSync(join(example, 'terraform.tfstate'), 'utf8'))).toMatchObject({ resources: [] });
  });

  it('takes the same hosts in again, with their group', async () => {
    expect(await applied()).toBe('24 added, 0 changed, 0 destroyed');
    await until('a site serves the group', async () => (await active()) !== '');
    await antipode('replicate', 'payments');
  });
});
