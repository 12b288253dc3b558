/** The setting of each program that makes its keys extractable, and so replicable. docs/clients.md shows each in use. */
import type { Program } from '@antipode/site-agent';

export const CLIENT_SETTINGS: Readonly<Record<Program, string>> = {
  'pkcs11-tool':
    'add --extractable to --keypairgen, --keygen and --write-object. With --sensitive, no value can be read',
  SunPKCS11:
    'add to the configuration of the provider: attributes(*, CKO_PRIVATE_KEY, *) = { CKA_SENSITIVE = true CKA_EXTRACTABLE = true }, and the same for CKO_SECRET_KEY',
  certutil: 'add --keyAttrFlags token,private,sensitive,extractable',
  p11tool:
    'it has no setting for this. Make the key with pkcs11-tool --extractable. p11tool then uses it by its id or label',
  'Knot DNS':
    'it has no setting for this. Make the key with pkcs11-tool --extractable and a --id of 20 bytes, then run keymgr <zone> import-pkcs11 <id>',
  OpenDNSSEC: 'add <AllowExtraction/> to the <Repository> in conf.xml',
  'python-pkcs11':
    'pass private_template={Attribute.EXTRACTABLE: True} to generate_keypair, or template={Attribute.EXTRACTABLE: True} to generate_key. With PyKCS11, add (CKA_EXTRACTABLE, CK_TRUE) to the template of the private key',
};
