# Everything that the later steps need. Changes nothing.
[ "$(id -u)" = 0 ] || refuse HOST_NOT_ROOT 'the login is not root.'
[ -d /run/systemd/system ] || refuse HOST_WITHOUT_SYSTEMD 'systemd is not the first process of this host. Use a machine that systemd has started, version 250 or newer.'
system=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
[ "${system:-0}" -ge 250 ] || refuse HOST_WITHOUT_SYSTEMD "systemd is version ${system:-unknown}, expected 250 or newer."
for program in dpkg dpkg-query dpkg-deb apt-get sha256sum base64 tar; do
  command -v "$program" >/dev/null || refuse HOST_NOT_DEBIAN "no program $program. Use Debian 12 or newer, or a relative."
done
here=$(dpkg --print-architecture)
[ "$here" = "$architecture" ] || refuse PACKAGE_ARCHITECTURE "the host is $here and the package is for $architecture. Set package_file to the package for $here."
for file in $pin_files; do
  [ -f "$file" ] || refuse PIN_FILE_MISSING "no file $file on the host. Write the PIN into it, with mode 0600."
done
for credential in $credentials; do
  [ -f "/etc/credstore.encrypted/$credential" ] || refuse PIN_FILE_MISSING "no credential /etc/credstore.encrypted/$credential on the host. Make it with systemd-creds encrypt, or set pins.$credential.file."
done
installed=$(dpkg-query -W -f '${db:Status-Status} ${Version}' antipode 2>/dev/null || true)
case $installed in
  'installed '*)
    installed=${installed#installed }
    laid=$(cat "$records/package" 2>/dev/null || true)
    if dpkg --compare-versions "$installed" gt "$version"; then
      refuse PACKAGE_NEWER "antipode $installed is installed and the package is $version. There is no way back to an older version: set package_file to $installed or newer."
    fi
    if [ "$installed" != "$version" ] && [ "${laid%% *}" != "$installed" ]; then
      refuse PACKAGE_OTHER "antipode $installed is installed, and not by Terraform. Upgrade it by hand to $version first (docs/upgrading.md), then apply again."
    fi
    if [ "$laid" = "$version $digest" ]; then
      if [ -z "$(changed_files)" ]; then echo present; else echo wanted; fi
    elif [ -z "$laid" ] && [ "$installed" = "$version" ]; then
      mkdir -p -m 755 /var/lib/antipode "$records"
      echo "$version $digest" >"$records/package"
      echo present
    else
      echo wanted
    fi
    ;;
  '' | *not-installed* | *config-files*) echo wanted ;;
  *) refuse PACKAGE_BROKEN "the package antipode is half installed ($installed). Run dpkg --configure -a there, then apply again." ;;
esac
