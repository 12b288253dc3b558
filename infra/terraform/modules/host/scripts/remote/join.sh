# The token comes over standard input. `antipode site join` makes the key here, so that it never travels.
witness=
[ "$kind" != witness ] || witness=--witness
status=0
antipode site join - --folder "$folder" $witness >&2 || status=$?
# Its checks are findings (4), and a token without a label is named by the configuration that follows (5).
if [ ! -f "$folder/tls.crt" ] || [ ! -f "$folder/tls.key" ]; then refuse JOIN_REFUSED "antipode site join ended with status $status, see above."; fi
say 'has joined'
