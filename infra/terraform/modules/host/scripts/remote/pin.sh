# A PIN comes over standard input, and is on the disk only encrypted to this machine.
store=/etc/credstore.encrypted
mkdir -p -m 700 "$store"
new=$store/.$credential.new
trap 'rm -f "$new"' EXIT
if ! systemd-creds encrypt --name="$credential" - "$new" >/dev/null; then
  refuse PIN_NOT_ENCRYPTED "systemd-creds does not encrypt $credential, see above."
fi
chmod 600 "$new"
mv "$new" "$store/$credential"
say "has the PIN $credential, encrypted to this machine"
if [ "$(property ActiveState)" = active ]; then
  systemctl restart "$unit.service" && is_healthy || { journal; refuse SERVICE_NOT_HEALTHY "$unit is not healthy with the new PIN $credential."; }
fi
