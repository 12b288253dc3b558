# Authority, certificate and key, as `antipode init` makes them, come over standard input. A host that has a key keeps it.
# Not in the folder: it belongs to the user of the unit, who could exchange files there while root gives them away.
stage=$(mktemp -d /var/lib/antipode/.identity-XXXXXX)
trap 'rm -rf "$stage"' EXIT
tar -xf - -C "$stage" --no-same-owner --no-same-permissions
node=$(ls /usr/lib/antipode/node_modules/node-linux-*/bin/node)
expected=$kind
read_names='
const { X509Certificate, createPrivateKey } = require("node:crypto");
const { readFileSync } = require("node:fs");
const [folder] = process.argv.slice(1);
const certificate = new X509Certificate(readFileSync(`${folder}/tls.crt`));
if (!certificate.checkPrivateKey(createPrivateKey(readFileSync(`${folder}/tls.key`)))) throw new Error("the key does not fit the certificate");
if (new Date(certificate.validTo) < new Date()) throw new Error(`the certificate has ended on ${certificate.validTo}`);
console.log(/URI:(spiffe:[^,\s]+)/.exec(certificate.subjectAltName ?? "")?.[1] ?? "none");
'
given=$("$node" -e "$read_names" "$stage" 2>"$stage/errors") ||
  refuse IDENTITY_INVALID "$(grep -m1 Error: "$stage/errors" || echo 'the certificate cannot be read'). Make the folder again with antipode init."
# A witness is a site to all others.
[ "$kind" != witness ] || expected=site
case $given in
  */"$expected/$name" | */"$expected/$name/"*) ;;
  *) refuse IDENTITY_OTHER "the certificate is for $given, expected $expected/$name. Set identity.folder to the folder of $name." ;;
esac
# put FILE MODE: a file that is there already stays, since the host renews its certificate by itself.
put() {
  [ -f "$stage/$1" ] && [ ! -f "$folder/$1" ] || return 0
  chown "$unit:" "$stage/$1"
  chmod "$2" "$stage/$1"
  mv -T "$stage/$1" "$folder/$1"
}
if [ -f "$folder/tls.key" ]; then
  there=$("$node" -e "$read_names" "$folder" 2>"$stage/errors") ||
    refuse IDENTITY_INVALID "the certificate in $folder is not usable: $(grep -m1 Error: "$stage/errors" || echo 'it cannot be read'). Renew it (docs/howto/certificates.md)."
  [ "$there" = "$given" ] || refuse IDENTITY_OTHER "the host has the certificate of $there, expected $given. It belongs to another site: use another host, or remove $folder if no group needs it."
  say 'has its certificate, which stays'
else
  # A certificate without its key was left by a step that was interrupted.
  rm -f "$folder/tls.crt"
  put ca.crt 644
  put tls.crt 644
  put tls.key 600
  say "has the certificate of $given"
fi
put issuer.crt 644
put issuer.key 600
