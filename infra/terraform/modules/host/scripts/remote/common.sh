set -eu
umask 077
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# What Terraform has laid down here: the package, and the files of each unit.
records=/var/lib/antipode/terraform

say() { printf 'antipode: %s: %s\n' "$name" "$*" >&2; }
refuse() {
  code=$1
  shift
  printf 'antipode: [%s] %s: %s\n' "$code" "$name" "$*" >&2
  exit 5
}
property() { systemctl show --value --property="$1" "$unit.service"; }
journal() { journalctl --no-pager --quiet --output=cat --lines=12 --unit="$unit.service" 2>/dev/null | cut -c1-300 >&2 || true; }
digest_of() { sha256sum <"$1" | cut -d' ' -f1; }

# Files of the package that are not as it brought them. Documents may be left out of a small system.
changed_files() { dpkg --verify antipode 2>&1 </dev/null | grep -E '^..5|^missing .*/usr/(lib|s?bin)/' | head -n 3 | tr '\n' ' ' || true; }

# Waits until the unit is active and its status says what is expected. Its last lines follow if it never does.
is_healthy() {
  left=$health_seconds
  while :; do
    state=$(property ActiveState)
    status=$(property StatusText)
    if [ "$state" = active ] && printf '%s\n' "$status" | grep -Eq -- "$health"; then
      say "$unit is active: $status"
      return 0
    fi
    if [ "$state" = failed ] || [ "$left" -le 0 ]; then
      say "$unit is $state: $status"
      return 1
    fi
    left=$((left - 1))
    sleep 1
  done
}
