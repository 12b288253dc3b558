# Lines of "path base64" over standard input. All files change, or none: a service that does not come up gets its old ones.
list=$records/$unit.files
stage=$(mktemp -d /var/lib/antipode/.configuration-XXXXXX)
trap 'rm -rf "$stage"' EXIT
mkdir -p -m 755 "$records"
mkdir "$stage/new" "$stage/old"
: >"$stage/list"
: >"$stage/changed"
count=0
while read -r path text; do
  count=$((count + 1))
  printf '%s' "$text" | base64 -d >"$stage/new/$count"
  echo "$path" >>"$stage/list"
  cmp -s "$stage/new/$count" "$path" || echo "$count $path" >>"$stage/changed"
done
# Files of an earlier apply that nobody wants any more.
touch "$list"
while read -r path; do
  grep -qxF -- "$path" "$stage/list" || [ ! -e "$path" ] || echo "0 $path" >>"$stage/changed"
done <"$list"
if [ ! -s "$stage/changed" ]; then
  mv "$stage/list" "$list"
  say 'has its configuration'
  exit 0
fi

# The folder of a unit belongs to its user, who can put links there. So a file for it gets owner and mode in a folder of
# root, and the rename takes the place of whatever has its name.
put() {
  new=$1
  mkdir -p -m 755 "$(dirname "$2")"
  case $2 in
    /var/lib/antipode/*) chown "$unit:" "$new" ;;
    *)
      new=$2.antipode-new
      cp "$1" "$new"
      ;;
  esac
  chmod 644 "$new"
  mv -fT "$new" "$2"
}
number=0
while read -r count path; do
  number=$((number + 1))
  [ ! -f "$path" ] || cp -pP "$path" "$stage/old/$number"
  if [ "$count" = 0 ]; then rm -f "$path"; else put "$stage/new/$count" "$path"; fi
  say "wrote $path"
done <"$stage/changed"
systemctl daemon-reload
if [ "$(property UnitFileState)" = enabled ]; then
  if ! { systemctl restart "$unit.service" 2>/dev/null && is_healthy; }; then
    journal
    number=0
    while read -r count path; do
      number=$((number + 1))
      rm -f "$path"
      [ ! -f "$stage/old/$number" ] || mv -fT "$stage/old/$number" "$path"
    done <"$stage/changed"
    systemctl daemon-reload
    again='and runs again'
    { systemctl restart "$unit.service" 2>/dev/null && is_healthy; } || again='and is still not healthy'
    refuse CONFIGURATION_REFUSED "$unit was not healthy with the new configuration, see above. It has its old one back, $again."
  fi
fi
mv "$stage/list" "$list"
