/** PKCS#11 URIs (RFC 7512): they name a token to a program. */

/** Everything but what both parts may hold as it is is percent-encoded (RFC 7512, section 2.3). */
const encoded = (value: string): string => encodeURIComponent(value);

/** The token by label and serial number, in the module at an absolute path. Never a PIN. */
export function tokenUri({
  module,
  tokenLabel,
  serial,
}: {
  module: string;
  tokenLabel: string;
  serial: string;
}): string {
  const path = module.split('/').map(encoded).join('/');
  return `pkcs11:token=${encoded(tokenLabel)};serial=${encoded(serial)}?module-path=${path}`;
}
