# Lines of "step key wanted" over standard input. One line for each difference; none where all is as it was laid down.
differs() { printf '%s\n' "$*"; }
while read -r step key wanted; do
  case $step in
    package)
      found=$(dpkg-query -W -f '${db:Status-Status} ${Version}' antipode 2>/dev/null || true)
      if [ "$found" != "installed $key" ]; then differs "$step $key the package antipode is \"$found\", expected version $key"
      elif [ "$(cat "$records/package" 2>/dev/null || true)" != "$key $wanted" ]; then differs "$step $key the package antipode $key is another build"
      else
        broken=$(changed_files)
        [ -z "$broken" ] || differs "$step $key files of the package are changed: $broken"
      fi
      ;;
    identity) [ -f "$key/tls.key" ] && [ -f "$key/tls.crt" ] || differs "$step $key no certificate in $key" ;;
    pin) [ -f "/etc/credstore.encrypted/$key" ] || differs "$step $key no credential $key" ;;
    configuration)
      if [ ! -f "$key" ]; then differs "$step $key no file $key"
      else
        found=$(digest_of "$key")
        [ "$found" = "$wanted" ] || differs "$step $key $key has SHA-256 $(printf %.12s "$found"), expected $(printf %.12s "$wanted")"
      fi
      ;;
    service)
      enabled=$(property UnitFileState)
      active=$(property ActiveState)
      [ "$enabled $active" = 'enabled active' ] || differs "$step $key $unit is ${enabled:-absent} and $active, expected enabled and active"
      ;;
  esac
done
