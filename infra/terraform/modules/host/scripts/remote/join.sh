# The token comes over standard input. `antipode site join` makes the key here, so that it never travels.
set -- --folder "$folder"
[ "$kind" != witness ] || set -- "$@" --witness
while IFS= read -r word; do
  [ -z "$word" ] || set -- "$@" "$word"
done <<EOF
$arguments
EOF
status=0
said=$(antipode site join - "$@" 2>&1) || status=$?
# Its checks are findings (4): the configuration and the PINs of this site follow.
if [ "$status" -ne 0 ] && [ "$status" -ne 4 ] || [ ! -f "$folder/tls.crt" ]; then
  printf '%s\n' "$said" >&2
  refuse JOIN_REFUSED "antipode site join ended with status $status, see above."
fi
say 'has joined'
