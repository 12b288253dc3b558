# The package comes over standard input. It counts only with the digest that the plan has.
stage=$(mktemp -d /var/tmp/antipode-package-XXXXXX)
trap 'rm -rf "$stage"' EXIT
file=$stage/antipode.deb
cat >"$file" || refuse PACKAGE_NOT_INSTALLED 'no room for the package in /var/tmp.'
found=$(digest_of "$file")
[ "$found" = "$digest" ] || refuse PACKAGE_CHANGED "the package that arrived has SHA-256 $found, expected $digest. Plan again."
found=$(dpkg-deb -f "$file" Package Version Architecture 2>/dev/null | tr '\n' ' ' || true)
[ "$found" = "Package: antipode Version: $version Architecture: $architecture " ] ||
  refuse PACKAGE_OTHER "the file holds \"$found\", expected antipode $version for $architecture, as its name says."
was=$(property ActiveState)
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
# It computes what is missing before it unpacks anything.
if ! apt-get install --yes --no-install-recommends --reinstall -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$file" >"$stage/log" 2>&1 </dev/null; then
  tail -n 15 "$stage/log" >&2
  refuse PACKAGE_NOT_INSTALLED 'apt-get does not install the package, see above. Correct what it says, then apply again.'
fi
mkdir -p -m 755 "$records"
echo "$version $digest" >"$records/package"
say "installed antipode $version"
# Its own scripts have started what ran.
if [ "$was" = active ] && ! is_healthy; then
  journal
  refuse SERVICE_NOT_HEALTHY "antipode $version is installed, and $unit is not healthy with it."
fi
