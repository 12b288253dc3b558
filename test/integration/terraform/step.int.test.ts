/**
 * The script that Terraform calls for each step at a host, against one fresh machine over SSH. It meets the refusals that
 * the applied example does not meet, and a login that is not root. After each refusal the machine is put right.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianRoot, missingForDebianRoot } from '../../support/debian-root.ts';
import { missingForMachine } from '../../support/machine.ts';
import { SshHosts } from '../../support/ssh-hosts.ts';
import { findTerraform, INFRA, TERRAFORM_ENVIRONMENT } from '../../support/terraform.ts';
import { temporaryFolder, USER_PIN } from '../../support/tokens.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const STEP = join(INFRA, 'modules/host/scripts/step');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

const missing = [...new Set([...missingForMachine(), ...missingForDebianRoot()])];
if (missing.length > 0)
  console.error(`Steps of Terraform are not tried at a machine: this one lacks ${missing.join(', ')}.`);

const digestOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

describe.skipIf(missing.length > 0)('a step at a host', { timeout: 180_000 }, () => {
  const folder = temporaryFolder('step');
  const hosts = new SshHosts(join(folder, 'operator'), { base: missing.length > 0 ? '/' : debianRoot() });
  let file: string;

  beforeAll(async () => {
    await hosts.boot(['w']);
    mkdirSync(join(folder, 'tmp'));
    const words = ['--quick', '--architecture', ARCHITECTURE, '--output', join(folder, 'package')];
    execFileSync(process.execPath, [join(root, 'scripts/package/main.ts'), ...words], {
      stdio: 'pipe',
      env: { ...process.env, TMPDIR: join(folder, 'tmp') },
    });
    file = join(folder, 'package', readdirSync(join(folder, 'package')).find((name) => name.endsWith('.deb')) ?? '');
    const { address } = hosts.host('w');
    for (const words of [
      ['authority', '--folder', 'ca', '--trust-domain', 'dr.example.org'],
      ['witness', '--folder', 'w', '--authority', 'ca', '--site', 'w', '--listen', `${address}:7401`],
      ['witness', '--folder', 'v', '--authority', 'ca', '--site', 'v', '--listen', `${address}:7401`],
      ['operator', '--folder', 'alice', '--authority', 'ca', '--name', 'alice'],
    ])
      execFileSync(
        process.execPath,
        [
          ...[join(root, 'apps/cli/src/main.ts'), 'init', ...words],
          ...(words[0] === 'authority' ? [] : ['--coordinator', `main@${address}:7400`]),
        ],
        { cwd: folder, stdio: 'pipe' },
      );
  }, 900_000);
  afterAll(async () => {
    await hosts.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs one in the middle of the network. @returns its status and the codes that it gives */
  async function step(name: string, values: Record<string, string> = {}): Promise<[number, string[]]> {
    const env = {
      ANTIPODE_NAME: 'w',
      ANTIPODE_KIND: 'witness',
      ANTIPODE_UNIT: 'antipode-witness',
      ANTIPODE_HOST: hosts.host('w').address,
      ANTIPODE_PORT: '22',
      ANTIPODE_USER: 'root',
      ANTIPODE_KEY_FILE: hosts.keyFile,
      ANTIPODE_KNOWN_HOSTS: hosts.knownHostsFile,
      ANTIPODE_CONFIG_FILE: '/dev/null',
      ANTIPODE_HEALTH: 'a coordinator has answered',
      ANTIPODE_HEALTH_SECONDS: '1',
      ANTIPODE_PACKAGE: file,
      ANTIPODE_VERSION: version,
      ANTIPODE_ARCHITECTURE: ARCHITECTURE,
      ANTIPODE_DIGEST: digestOf(file),
      ANTIPODE_CREDENTIALS: '',
      ANTIPODE_PIN_FILES: '',
      ANTIPODE_SENT_PINS: '',
      ANTIPODE_CREDENTIAL: 'payments.pin',
      ANTIPODE_FOLDER: '/var/lib/antipode/witness',
      ANTIPODE_IDENTITY_FOLDER: join(folder, 'w'),
      ANTIPODE_OPERATOR_CONFIG: join(folder, 'alice/operator.yaml'),
      ANTIPODE_COMMAND: join(root, 'bin/antipode'),
      ANTIPODE_COORDINATORS: 'main',
      ANTIPODE_JOIN_ARGUMENTS: '',
      ANTIPODE_FILES: '',
      TMPDIR: join(folder, 'tmp'),
      ...values,
    };
    const { status, stdout, stderr } = await hosts.network.run(['sh', STEP, name], { cwd: folder, env });
    const codes = [...`${stdout}${stderr}`.matchAll(/^antipode: \[([A-Z_]+)\]/gm)].map(([, code]) => code!);
    return [status, codes];
  }
  const refused = (code: string): [number, string[]] => [5, [code]];
  const at = (line: string): string => hosts.machine('w').must(line);
  /** A package of that name that holds nothing. */
  function small(name: string, { control = '', postinst = '' }: { control?: string; postinst?: string }): string {
    const tree = join(folder, name);
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
    const fields = `Package: antipode\nVersion: ${version}\nArchitecture: ${ARCHITECTURE}\nMaintainer: a test <a@localhost>\n`;
    writeFileSync(join(tree, 'DEBIAN/control'), `${fields}${control}Description: for a test\n`);
    if (postinst !== '') writeFileSync(join(tree, 'DEBIAN/postinst'), postinst, { mode: 0o755 });
    mkdirSync(join(folder, `${name}-made`));
    const made = join(folder, `${name}-made/antipode_${version}_${ARCHITECTURE}.deb`);
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, made], { stdio: 'pipe' });
    return made;
  }

  it('is refused where it is none', async () => {
    expect(await step('perhaps')).toEqual(refused('STEP_UNKNOWN'));
  });

  describe('by a user who is not root', () => {
    const user = { ANTIPODE_USER: 'deploy' };
    beforeAll(() => {
      at(`rm -f /run/nologin
useradd --create-home --home-dir /srv/deploy --shell /bin/bash deploy
mkdir -m 700 /srv/deploy/.ssh
cp /root/.ssh/authorized_keys /srv/deploy/.ssh
chown -R deploy: /srv/deploy`);
    });

    it('is refused without sudo, without a right to it, and where it leads to somebody else', async () => {
      expect(await step('package', user)).toEqual(refused('HOST_REFUSES_SUDO'));
      at('DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends sudo');
      expect(await step('package', user)).toEqual(refused('HOST_REFUSES_SUDO'));
      at(
        `printf 'Defaults:deploy runas_default=nobody\\ndeploy ALL=(nobody) NOPASSWD: ALL\\n' > /etc/sudoers.d/deploy`,
      );
      expect(await step('package', user)).toEqual(refused('HOST_NOT_ROOT'));
      expect(await step('package', { ANTIPODE_USER: 'nobody' })).toEqual(refused('HOST_REFUSES_LOGIN'));
      expect(at('dpkg-query -W antipode 2>&1 || true')).toContain('no packages found');
      at(`printf 'deploy ALL=(root) NOPASSWD: /bin/sh\\n' > /etc/sudoers.d/deploy`);
    });

    it('reads a secret from its standard input all the same', async () => {
      const pin = join(folder, 'payments.pin');
      writeFileSync(pin, `${USER_PIN}\n`, { mode: 0o600 });
      expect(await step('pin', { ...user, ANTIPODE_PIN_FILE: pin })).toEqual([0, []]);
      const decrypted = at('systemd-creds decrypt --name=payments.pin /etc/credstore.encrypted/payments.pin -');
      expect(decrypted).toBe(USER_PIN);
    });
  });

  it('is refused at a host without the programs of Debian', async () => {
    at('mv /usr/bin/dpkg-deb /usr/bin/away');
    expect(await step('package')).toEqual(refused('HOST_NOT_DEBIAN'));
    at('mv /usr/bin/away /usr/bin/dpkg-deb');
  });

  it('is refused with another package than the one of the plan', async () => {
    expect(await step('package', { ANTIPODE_DIGEST: '0'.repeat(64) })).toEqual(refused('PACKAGE_CHANGED'));
  });

  it('is refused with a package that apt-get does not install', async () => {
    const made = small('lonely', { control: 'Depends: no-such-package\n' });
    const values = { ANTIPODE_PACKAGE: made, ANTIPODE_DIGEST: digestOf(made) };
    expect(await step('package', values)).toEqual(refused('PACKAGE_NOT_INSTALLED'));
  });

  it('is refused while a package is half installed', async () => {
    const made = small('broken', { postinst: '#!/bin/sh\nexit 1\n' });
    copyFileSync(made, hosts.machine('w').path('root/broken.deb'));
    expect(hosts.machine('w').run('dpkg -i /root/broken.deb').status).not.toBe(0);
    expect(await step('package')).toEqual(refused('PACKAGE_BROKEN'));
    at('dpkg --remove --force-remove-reinstreq antipode; dpkg --purge antipode');
  });

  it('is refused with an empty PIN before anything is installed', async () => {
    const empty = join(folder, 'empty.pin');
    writeFileSync(empty, '', { mode: 0o600 });
    expect(await step('package', { ANTIPODE_SENT_PINS: empty })).toEqual(refused('PIN_FILE_EMPTY'));
    expect(await step('pin', { ANTIPODE_PIN_FILE: empty })).toEqual(refused('PIN_FILE_EMPTY'));
    expect(hosts.machine('w').run('dpkg-query -W antipode').status).toBe(1);
  });

  it('is refused where a PIN cannot be encrypted, and leaves no file', async () => {
    at('mv /usr/bin/systemd-creds /usr/bin/away');
    const values = { ANTIPODE_PIN_FILE: join(folder, 'payments.pin'), ANTIPODE_CREDENTIAL: 'other.pin' };
    expect(await step('pin', values)).toEqual(refused('PIN_NOT_ENCRYPTED'));
    at('mv /usr/bin/away /usr/bin/systemd-creds');
    expect(at('ls -A /etc/credstore.encrypted')).toBe('payments.pin');
  });

  it('installs the package by a user with sudo', async () => {
    expect(await step('package', { ANTIPODE_USER: 'deploy' })).toEqual([0, []]);
    expect(at("dpkg-query -W -f '${Version} ${db:Status-Status}' antipode")).toBe(`${version} installed`);
  });

  it('is refused with a key that does not fit its certificate', async () => {
    const mixed = join(folder, 'mixed');
    mkdirSync(mixed);
    for (const [from, name] of [
      ['w', 'ca.crt'],
      ['w', 'tls.crt'],
      ['v', 'tls.key'],
    ] as const)
      copyFileSync(join(folder, from, name), join(mixed, name));
    expect(await step('identity', { ANTIPODE_IDENTITY_FOLDER: mixed })).toEqual(refused('IDENTITY_INVALID'));
    expect(at('ls -A /var/lib/antipode/witness')).toBe('');
  });

  it('is refused where the coordinator gives no token, and with a token that is none', async () => {
    expect(await step('identity', { ANTIPODE_IDENTITY_FOLDER: '' })).toEqual(refused('TOKEN_REFUSED'));
    // In place of a coordinator that has been made to lie.
    const lying = join(folder, 'lying');
    writeFileSync(lying, '#!/bin/sh\nwhile [ "$1" != --out ]; do shift; done\necho antipode-site-1.none > "$2"\n', {
      mode: 0o755,
    });
    const values = { ANTIPODE_IDENTITY_FOLDER: '', ANTIPODE_COMMAND: lying };
    expect(await step('identity', values)).toEqual(refused('JOIN_REFUSED'));
    expect(hosts.machine('w').run('ls /var/lib/antipode/witness/tls.crt').status).not.toBe(0);
  });

  it('is refused where the service does not start, and leaves it disabled', async () => {
    expect(await step('service')).toEqual(refused('SERVICE_NOT_STARTED'));
    expect(hosts.machine('w').run('systemctl is-enabled antipode-witness').output).toBe('disabled');
  });

  it('is refused where the service runs and does not become healthy, and leaves it running', async () => {
    expect(await step('identity')).toEqual([0, []]);
    const configuration = readFileSync(join(folder, 'w/agent.yaml')).toString('base64');
    const files = `/var/lib/antipode/witness/agent.yaml ${configuration}\n`;
    expect(await step('configuration', { ANTIPODE_FILES: files })).toEqual([0, []]);
    expect(await step('service')).toEqual(refused('SERVICE_NOT_HEALTHY'));
    expect(at('systemctl is-enabled antipode-witness; systemctl is-active antipode-witness')).toBe('enabled\nactive');
  });

  it('is refused where a service cannot be stopped', async () => {
    const folderOfUnit = '/run/systemd/system/antipode-witness.service.d';
    at(`mkdir -p ${folderOfUnit}
printf '[Unit]\\nRefuseManualStop=yes\\n' > ${folderOfUnit}/stays.conf
systemctl daemon-reload`);
    expect(await step('retirement')).toEqual(refused('SERVICE_NOT_STOPPED'));
    at(`rm -r ${folderOfUnit}; systemctl daemon-reload`);
    expect(await step('retirement')).toEqual([0, []]);
    expect(hosts.machine('w').run('systemctl is-active antipode-witness').output).toBe('inactive');
  });
});

const terraform = findTerraform();

describe.skipIf(terraform === undefined)('drift without a host in the state', () => {
  const folder = temporaryFolder('drift');
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const drift = () =>
    spawnSync('sh', [join(INFRA, 'drift'), folder], {
      encoding: 'utf8',
      env: { ...process.env, ...TERRAFORM_ENVIRONMENT, TF_CLI_ARGS: '', TERRAFORM: terraform!, TMPDIR: folder },
    });
  const state = (resources: unknown[]): string =>
    JSON.stringify({ version: 4, terraform_version: '1.6.0', serial: 1, lineage: 'a', outputs: {}, resources });

  it.each([
    ['there is none', undefined],
    ['it is empty', ''],
    ['it is no JSON', 'state'],
    ['nothing in it is of these modules', state([])],
  ])('says that the state is unreadable: %s', (_, text) => {
    rmSync(join(folder, 'terraform.tfstate'), { force: true });
    if (text !== undefined) writeFileSync(join(folder, 'terraform.tfstate'), text);
    const { status, stdout, stderr } = drift();
    expect([status, stdout, stderr]).toEqual([1, '', expect.stringContaining('[STATE_UNREADABLE]')]);
  });
});
