# Partitions, PINs, journals, generations and certificates stay: without them a site cannot return to its groups.
if [ "$(property LoadState)" = loaded ]; then
  systemctl disable --now --quiet "$unit.service" || refuse SERVICE_NOT_STOPPED "$unit cannot be disabled, see above."
fi
say "$unit is disabled. /var/lib/antipode and the encrypted PINs are left."
