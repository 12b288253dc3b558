#!/bin/sh
# Installs Debian packages, as root, and leaves the machine's services alone: nothing is started or restarted, Redis does
# not start at the next boot, and no PostgreSQL cluster is made. Two files of the system are replaced for as long as it
# takes and put back afterwards, also on failure or Ctrl-C, and by the next run if this one is killed.
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

# replace FILE MODE: puts standard input in its place. The original is moved, so links, owners and times survive.
replace() {
  if exists "$1"; then mv "$1" "$1.antipode-saved" || return; fi
  cat >"$1" && chmod "$2" "$1"
}

# put_back FILE: undoes replace, if it happened.
put_back() {
  if grep -qsF "$mark" "$1"; then rm -f "$1"; fi
  if exists "$1.antipode-saved" && ! exists "$1"; then mv "$1.antipode-saved" "$1"; fi
}

put_all_back() {
  put_back "$policy"
  put_back "$cluster"
}

# Whether the policy that is there already forbids all that could happen: images for containers bring one.
policy_forbids_all() {
  [ -x "$policy" ] || return 1
  for service in redis-server postgresql; do
    for action in start restart; do
      status=0
      "$policy" "$service" "$action" </dev/null >/dev/null 2>&1 || status=$?
      [ "$status" -eq 101 ] || return 1
    done
  done
}

forbid_service_starts() {
  policy_forbids_all || replace "$policy" 755 <<EOF
#!/bin/sh
$mark
exit 101
EOF
}

forbid_main_cluster() {
  replace "$cluster" 644 <<EOF
$mark
create_main_cluster = false
EOF
}

apt() {
  apt-get -qq --option DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
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
  forbid_service_starts || return
  if wants postgresql; then
    # First what brings the configuration file, so that the file replaced is Debian's own.
    install postgresql-common || return
    forbid_main_cluster || return
  fi
  install "$@" || return
  # The project starts its own Redis; Debian's would appear at the next boot.
  if wants redis-server; then update-rc.d redis-server disable >>"$log" 2>&1 || true; fi
}

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
packages=$*
log=$(mktemp)

# One at a time on this machine. Held by our children too, so it also waits for the apt-get of a run that was killed.
exec 9>/run/antipode-install.lock
flock --nonblock 9 || { echo "antipode: another installation is under way on this machine, waiting for it ..." >&2; flock 9; }

put_all_back
trap 'put_all_back; rm -f "$log"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if ! install_all "$@"; then
  tail -n 40 "$log" >&2
  exit 1
fi
