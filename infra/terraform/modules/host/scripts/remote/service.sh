if ! systemctl enable --quiet "$unit.service"; then refuse SERVICE_NOT_STARTED "$unit cannot be enabled, see above."; fi
if ! systemctl start "$unit.service"; then
  journal
  systemctl disable --now --quiet "$unit.service" || true
  refuse SERVICE_NOT_STARTED "$unit does not start, see above. It is disabled again. Correct the cause, then apply again."
fi
is_healthy || {
  journal
  refuse SERVICE_NOT_HEALTHY "$unit runs, and its status does not say /$health/ after $health_seconds s. It goes on running. Correct the cause, then apply again."
}
