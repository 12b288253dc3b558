/** The programs that only the system's packages provide: HSMs in software, their tools, the database and the queue. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { hasProgram, isExecutable } from './find-program.js';
import { run } from './run.js';
import { BootstrapError, interruptedBy, say } from './say.js';

/** Looked for by what we run, not by what dpkg says: a program from elsewhere is as good. */
const PROGRAMS = {
  services: [
    {
      name: 'softhsm2',
      isPresent: () => existsSync('/usr/lib/softhsm/libsofthsm2.so') && hasProgram('softhsm2-util'),
    },
    { name: 'opensc', isPresent: () => hasProgram('pkcs11-tool') },
    { name: 'redis-server', isPresent: () => hasProgram('redis-server') },
    { name: 'postgresql', isPresent: hasPostgres },
    { name: 'openssl', isPresent: () => hasProgram('openssl') },
    { name: 'util-linux', isPresent: () => hasProgram('setpriv') },
  ],
  /** Another user of tokens, and a large one: the demonstration has it only with `--luna`. */
  java: [{ name: 'default-jre-headless', isPresent: () => hasProgram('keytool') }],
  /** A second HSM in software, and what else uses keys of a token: only the tests try them. */
  tests: [
    { name: 'libnss3', isPresent: hasSoftokn },
    { name: 'libnss3-tools', isPresent: () => ['certutil', 'cmsutil', 'modutil'].every(hasProgram) },
    { name: 'p11-kit-modules', isPresent: hasP11KitProxy },
    { name: 'libengine-pkcs11-openssl', isPresent: hasPkcs11Engine },
    { name: 'systemd', isPresent: () => hasProgram('systemd-analyze') },
    { name: 'man-db', isPresent: () => hasProgram('man') },
    { name: 'iproute2', isPresent: () => hasProgram('ip') },
    { name: 'debootstrap', isPresent: () => hasProgram('debootstrap') },
    { name: 'faketime', isPresent: hasFaketime },
    { name: 'openssh-client', isPresent: () => ['ssh', 'ssh-agent', 'ssh-keygen'].every(hasProgram) },
    { name: 'openssh-server', isPresent: () => hasProgram('sshd') },
    { name: 'gpg', isPresent: () => hasProgram('gpg') },
    { name: 'gpg-agent', isPresent: () => hasProgram('gpg-agent') },
    { name: 'gnupg-pkcs11-scd', isPresent: () => hasProgram('gnupg-pkcs11-scd') },
    { name: 'gnutls-bin', isPresent: () => ['certtool', 'p11tool'].every(hasProgram) },
    { name: 'knot', isPresent: () => hasProgram('keymgr') },
    { name: 'knot-dnssecutils', isPresent: () => hasProgram('kzonesign') },
    { name: 'ldnsutils', isPresent: () => hasProgram('ldns-verify-zone') },
    { name: 'libhsm-bin', isPresent: () => hasProgram('ods-hsmutil') },
    { name: 'nginx', isPresent: () => hasProgram('nginx') },
    { name: 'prometheus', isPresent: () => ['prometheus', 'promtool'].every(hasProgram) },
    { name: 'python3-pykcs11', isPresent: () => existsSync('/usr/lib/python3/dist-packages/PyKCS11') },
  ],
  /** For the test of the dashboard, and the largest of all: no other verb downloads it. */
  browser: [{ name: 'chromium', isPresent: () => hasProgram('chromium') }],
  /** A C compiler: for the floor of the benchmark, and for the PKCS#11 module that lies to the tests. */
  compiler: [
    { name: 'gcc', isPresent: () => hasProgram('cc') || hasProgram('gcc') },
    { name: 'libc6-dev', isPresent: () => existsSync('/usr/include/dlfcn.h') },
  ],
};

/** Debian releases keep the module in one of two folders. */
function hasSoftokn() {
  return ['x86_64', 'aarch64']
    .flatMap((machine) => [`/usr/lib/${machine}-linux-gnu`, `/usr/lib/${machine}-linux-gnu/nss`])
    .some((folder) => existsSync(join(folder, 'libsoftokn3.so')));
}

/** Part of p11-kit: it shows all modules of a machine as one. */
function hasP11KitProxy() {
  return ['x86_64', 'aarch64'].some((machine) => existsSync(`/usr/lib/${machine}-linux-gnu/p11-kit-proxy.so`));
}

/** OpenSSL looks for engines beside its libraries, in the folder of the machine's kind. */
function hasPkcs11Engine() {
  return ['x86_64', 'aarch64'].some((machine) => existsSync(`/usr/lib/${machine}-linux-gnu/engines-3/pkcs11.so`));
}

/** The library is what shifts the clock of a process; the command of that name is not used. */
function hasFaketime() {
  return ['x86_64', 'aarch64'].some((machine) => existsSync(`/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`));
}

/** Debian keeps the programs of each PostgreSQL version in a folder of its own. */
function hasPostgres() {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  return versions.some((version) =>
    ['postgres', 'initdb'].every((program) => isExecutable(join('/usr/lib/postgresql', version, 'bin', program))),
  );
}

function missingPackages(needs) {
  return needs
    .flatMap((set) => PROGRAMS[set])
    .filter(({ isPresent }) => !isPresent())
    .map(({ name }) => name);
}

/** @param {{ root: string, needs: readonly (keyof typeof PROGRAMS)[] }} options */
export async function installDebianPrograms({ root, needs }) {
  const missing = missingPackages(needs);
  if (missing.length === 0) return;
  const list = missing.join(' ');
  if (!hasProgram('apt-get')) {
    throw new BootstrapError(
      `These programs are missing, and there is no apt-get to install them: ${list} (names of Debian packages). Install them, then try again.`,
    );
  }
  const install = ['sh', join(root, 'scripts', 'bootstrap', 'install-debian-packages.sh'), ...missing];
  const asRoot = waysToRoot();
  if (asRoot === undefined) {
    throw new BootstrapError(
      `Debian packages are missing: ${list}. Installing them needs root, and sudo does not work here without a password. Run this first:\n\n` +
        `    sudo ${install.join(' ')}\n\n` +
        `(it is apt-get install --no-install-recommends ${list}, without starting services), then try again.`,
    );
  }
  say(`installing Debian packages with apt-get: ${list} (a minute or so; no service is started) ...`);
  const [command, ...args] = [...asRoot, ...install];
  const end = await run(command, args, { stdio: ['ignore', 2, 2] });
  if (end.signal !== null) throw interruptedBy(end.signal);
  const stillMissing = missingPackages(needs);
  if (end.code !== 0 || stillMissing.length > 0) {
    const left = stillMissing.length > 0 ? ` Still missing: ${stillMissing.join(' ')}.` : '';
    throw new BootstrapError(
      `The Debian packages could not be installed, see above.${left} Correct what apt-get says, then try again.`,
    );
  }
  say('Debian packages installed.');
}

/** The words before a command that make it run as root: none for root, sudo where it asks nothing, undefined if neither. */
function waysToRoot() {
  if (process.getuid?.() === 0) return [];
  const sudo = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' });
  if (sudo.status !== 0) return undefined;
  // sudo clears the environment, and apt-get may need the way out.
  const proxies = Object.entries(process.env).filter(([name]) => /^(https?|no|ftp)_proxy$/i.test(name));
  return ['sudo', '-n', 'env', ...proxies.map(([name, value]) => `${name}=${value}`)];
}
