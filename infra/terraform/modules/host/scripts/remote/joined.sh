if [ -f "$folder/tls.key" ] && [ -f "$folder/tls.crt" ]; then echo joined; else echo missing; fi
