#!/bin/sh
# Installs Debian packages, as root, and leaves the machine's services alone: no Redis, PostgreSQL, Knot, nginx or
# Prometheus is started or restarted, and no SSH server that was not there. None of them but a PostgreSQL that was there
# starts at the next boot, and no PostgreSQL cluster is made. Two files of the system are replaced for as long as it takes and put back afterwards, also on failure or Ctrl-C, and
# by the next run if this one is killed. They are replaced only when everything is downloaded, and for all other services
# they change nothing.
#
# usage: install-debian-packages.sh PACKAGE...
set -eu

# Asked by Debian's maintainer scripts before they touch a service (invoke-rc.d(8), deb-systemd-invoke(1)).
policy=/usr/sbin/policy-rc.d
# Asked before they make the first cluster of a PostgreSQL version (pg_createcluster(1)).
cluster=/etc/postgresql-common/createcluster.conf
mark='# antipode: for the time of an installation'

[ $# -gt 0 ] || { echo "usage: $0 PACKAGE..." >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "$0 must run as root" >&2; exit 2; }

exists() { [ -e "$1" ] || [ -L "$1" ]; }

# replace FILE MODE: puts standard input in its place, whole or not at all. The original is moved, so links, owners and
# times survive.
replace() {
  cat >"$1.antipode-new" && chmod "$2" "$1.antipode-new" || return
  if exists "$1"; then mv "$1" "$1.antipode-saved" || return; fi
  mv "$1.antipode-new" "$1"
}

# put_back FILE: undoes replace, if it happened.
put_back() {
  rm -f "$1.antipode-new"
  if grep -qsF "$mark" "$1"; then rm -f "$1"; fi
  if exists "$1.antipode-saved" && ! exists "$1"; then mv "$1.antipode-saved" "$1"; fi
}

put_all_back() {
  put_back "$policy"
  put_back "$cluster"
}

# Only for the services that we bring; for all others the policy that was there decides, as ever. The words are options, the
# name of a service or unit, and an action. An SSH server that was there before is left to its own policy: it may be the
# only way to this machine.
forbid_service_starts() {
  if wants openssh-server; then ssh='ssh | ssh.service | ssh.socket | sshd.service'; else ssh='no-ssh'; fi
  replace "$policy" 755 <<EOF
#!/bin/sh
$mark
for word in "\$@"; do
  case \$word in
    -*) ;;
    redis-server | redis-server.service | redis-server@* | postgresql | postgresql.service | postgresql@*) exit 101 ;;
    knot | knot.service | nginx | nginx.service | prometheus | prometheus.service) exit 101 ;;
    $ssh) exit 101 ;;
    *) break ;;
  esac
done
[ ! -x $policy.antipode-saved ] || exec $policy.antipode-saved "\$@"
exit 0
EOF
}

forbid_main_cluster() {
  replace "$cluster" 644 <<EOF
$mark
create_main_cluster = false
EOF
}

# Other package managers are waited for. apt-get itself would wait for the lock of dpkg alone, and without a word; on a
# machine that has just started, apt-daily holds those of the lists and the downloads, for minutes.
apt() {
  deadline=$(($(date +%s) + wait_seconds))
  has_said=
  while :; do
    status=0
    LC_ALL=C.UTF-8 apt-get -qq --option DPkg::Lock::Timeout=5 "$@" </dev/null >"$attempt" 2>&1 || status=$?
    cat "$attempt" >>"$log"
    if [ "$status" -eq 0 ] || ! is_locked || [ "$(date +%s)" -ge "$deadline" ]; then return "$status"; fi
    if [ -z "$has_said" ]; then
      echo "antipode: another package manager is at work (apt-daily, perhaps), waiting for it ..." >&2
      has_said=yes
    fi
    sleep "$pause_seconds"
  done
}

# Whether the last attempt found a lock taken, rather than out of reach.
is_locked() {
  grep -qE '/(lists|archives)/lock|/dpkg/lock' "$attempt" && ! grep -q 'Could not open lock file' "$attempt"
}

# Packages that are there already are not upgraded: they may be in use. Lists of packages are fetched only where the old
# ones do not do.
install() {
  set -- install --yes --no-install-recommends --no-upgrade "$@"
  apt "$@" || { apt update && apt "$@"; }
}

wants() {
  case " $packages " in *" $1 "*) ;; *) return 1 ;; esac
}

# Called as a condition, where `set -e` does not count: each step says `return` itself.
install_all() {
  # The slow part, and the one that waits for others, while nothing is replaced yet.
  install --download-only "$@" || return
  forbid_service_starts || return
  if wants postgresql; then
    # First what brings the configuration file, so that the file replaced is Debian's own.
    install postgresql-common || return
    forbid_main_cluster || return
  fi
  install "$@" || return
  # The project starts its own Redis, and tests start the others; Debian's would appear at the next boot.
  for service in redis-server knot nginx prometheus; do
    if wants "$service"; then update-rc.d "$service" disable >>"$log" 2>&1 || true; fi
  done
  if wants openssh-server; then update-rc.d ssh disable >>"$log" 2>&1 || true; fi
}

# What the packages make must be as they mean it, whatever the umask of who calls.
umask 022
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
packages=$*
wait_seconds=600
pause_seconds=3
log=$(mktemp)
attempt=$(mktemp)

# One at a time on this machine. Held by our children too, so it also waits for the apt-get of a run that was killed.
exec 9>/run/antipode-install.lock
flock --nonblock 9 || { echo "antipode: another installation is under way on this machine, waiting for it ..." >&2; flock 9; }

put_all_back
trap 'put_all_back; rm -f "$log" "$attempt"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if ! install_all "$@"; then
  tail -n 40 "$log" >&2
  exit 1
fi
