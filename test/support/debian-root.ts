/**
 * The files of a fresh Debian, for machines of tests: `debootstrap` makes them with the servers that apt-get uses here.
 * They are made once, which takes a minute, and kept in /var/cache/antipode-tests, 400 MB that may be deleted at any
 * time. Packages that somebody installs at such a machine lie in its cache of apt, since it has no way out. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';

const CACHE = '/var/cache/antipode-tests';
/** The least with systemd and a way in. */
const INSTALLED = ['systemd', 'systemd-sysv', 'openssh-server', 'iproute2', 'ca-certificates'];
/** `apt-get install` finds these without a network. */
const READY = ['opensc', 'postgresql', 'redis-server', 'softhsm2', 'sudo'];
const MAKE_MS_MAX = 600_000;

/** Programs that are missing here; empty where a root can be made. */
export function missingForDebianRoot(): string[] {
  const programs = ['debootstrap', 'apt-get', 'flock'].filter(
    (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0,
  );
  const lacks = [...programs, ...(process.geteuid?.() === 0 ? [] : ['root'])];
  return lacks.length > 0 || existsSync(folderOfRoot()) || isServerThere()
    ? lacks
    : ['a Debian root in the cache, and a server of Debian to make it from'];
}

/** Whether the server that debootstrap would use answers. */
const isServerThere = (): boolean => spawnSync('sh', ['-euc', ASK]).status === 0;
const folderOfRoot = (): string => {
  const key = createHash('sha256').update(SCRIPT).digest('hex').slice(0, 12);
  return `${CACHE}/debian-${key}`;
};

/** @returns its folder, which many machines may use at once and none changes */
export function debianRoot(): string {
  const folder = folderOfRoot();
  if (existsSync(folder)) return folder;
  const { status, stdout, stderr, error } = spawnSync('sh', ['-euc', SCRIPT, 'debian-root', CACHE, folder], {
    encoding: 'utf8',
    timeout: MAKE_MS_MAX,
  });
  if (status !== 0) throw new Error(`no Debian root (${status ?? error}): ${`${stdout}${stderr}`.slice(-2_000)}`);
  return folder;
}

/** A line of the shell that knows `$server` and `$suite`, as apt-get has them. */
const withServer = (
  line: string,
): string => `apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | {
  read -r server suite
  ${line}
}`;
/** By the program that debootstrap loads with. apt-get ends the address of a server with a slash. */
const ASK = withServer('wget -q -O /dev/null --tries=1 --timeout=10 "$server"dists/"$suite"/InRelease');
/** Test files run side by side: one makes it, and the others wait. An interrupted one leaves nothing that looks whole. */
const SCRIPT = `
mkdir -p "$1"
exec 9> "$1/lock"
flock 9
[ ! -d "$2" ] || exit 0
rm -rf --one-file-system "$1"/making-*
made=$(mktemp -d "$1/making-XXXXXX")
trap 'rm -rf --one-file-system "$made"' EXIT
trap 'exit 1' INT TERM
${withServer(`debootstrap --variant=minbase --include=${INSTALLED.join(',')} "$suite" "$made" "$server"`)}
rm -rf "$made/etc/apt/sources.list" "$made/etc/apt/sources.list.d"
for file in sources.list sources.list.d; do
  [ ! -e "/etc/apt/$file" ] || cp -r "/etc/apt/$file" "$made/etc/apt/$file"
done
cp /etc/resolv.conf "$made/etc/resolv.conf"
chroot "$made" apt-get update -q
chroot "$made" apt-get install -q -y --download-only ${READY.join(' ')}
rm -f "$made"/etc/ssh/ssh_host_*
rm -rf "$made"/dev/* "$made"/var/cache/apt/*.bin
chmod 755 "$made"
mv "$made" "$2"
`;
