/** A self-signed certificate, with the attributes that PKCS#11 wants besides its value. Nobody has its key. */
import type { Attributes } from '../model/attributes.ts';

const DER = Buffer.from(
  'MIIBgjCCASmgAwIBAgIUHunidIDOpBSnSX4Z4v1nhrJdtmUwCgYIKoZIzj0EAwIwFjEUMBIGA1UEAwwLY29uZm9ybWFuY2Uw' +
    'IBcNMjYxMTI1MTcxNDA3WhgPMjEyNjExMDExNzE0MDdaMBYxFDASBgNVBAMMC2NvbmZvcm1hbmNlMFkwEwYHKoZIzj0CAQYI' +
    'KoZIzj0DAQcDQgAEZF6FiRMwjuWg4LDjS533MmUsZVuKVw6FCSR6PQtxH3BSSoYRbT7/KPFF6opXNPfIggG93XgCSm/cwdgm' +
    '4nogmaNTMFEwHQYDVR0OBBYEFLrhhj4GhW0WUnt7bQ8XWfVUnQtfMB8GA1UdIwQYMBaAFLrhhj4GhW0WUnt7bQ8XWfVUnQtf' +
    'MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgJS4mw3HXhC2LlUND3UFzMzaRSGGyrMr3i68MD8HzrNsCIHsA' +
    'k3VOvA28LfI9Ecu/h8feMeEJIjcvMrvTBSpjt0Ev',
  'base64',
);

/** Contents and end of the DER element at this place. */
function element(at: number): { readonly inside: number; readonly end: number } {
  const first = DER[at + 1]!;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const inside = at + 2 + lengthBytes;
  const length = lengthBytes === 0 ? first : DER.readUIntBE(at + 2, lengthBytes);
  return { inside, end: inside + length };
}

/** TBSCertificate (RFC 5280 section 4.1): version, serial number, signature, issuer, validity, subject, ... */
function fields(): Uint8Array[] {
  const certificate = element(element(0).inside);
  const found: Uint8Array[] = [];
  for (let at = certificate.inside; at < certificate.end; at = element(at).end)
    found.push(new Uint8Array(DER.subarray(at, element(at).end)));
  return found;
}

const [, serialNumber, , issuer, , subject] = fields() as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
];

export const CERTIFICATE = {
  value: new Uint8Array(DER),
  certificateType: 0,
  issuer,
  serialNumber,
  subject,
} as const satisfies Attributes;
