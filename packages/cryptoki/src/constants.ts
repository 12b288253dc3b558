/** Numbers of PKCS#11 3.0 (pkcs11t.h) that we use, but for attributes (attributes.ts). Names are the standard's own. */

/** The call did what it was asked. All other return values: return-values.ts. */
export const CKR_OK = 0;

/** C_OpenSession. */
export const CKF_SERIAL_SESSION = 0x4;
export const CKF_RW_SESSION = 0x2;
/** C_SessionCancel, and what C_GetMechanismInfo says of a mechanism. */
export const CKF = {
  FIND_OBJECTS: 0x40,
  ENCRYPT: 0x100,
  DECRYPT: 0x200,
  DIGEST: 0x400,
  SIGN: 0x800,
  SIGN_RECOVER: 0x1000,
  VERIFY: 0x2000,
} as const;
/** C_Initialize. */
export const CKF_OS_LOCKING_OK = 0x2;

/** The security officer: sees public objects only, and alone gives CKA_TRUSTED. */
export const CKU_SO = 0;
export const CKU_USER = 1;
/** For one use of a key that wants the PIN each time (CKA_ALWAYS_AUTHENTICATE). */
export const CKU_CONTEXT_SPECIFIC = 2;

/** Token flags, C_GetTokenInfo. */
export const CKF_USER_PIN_INITIALIZED = 0x8;
export const CKF_TOKEN_INITIALIZED = 0x400;
export const CKF_USER_PIN_COUNT_LOW = 0x10000;
export const CKF_USER_PIN_FINAL_TRY = 0x20000;
export const CKF_USER_PIN_LOCKED = 0x40000;
export const CKF_SO_PIN_COUNT_LOW = 0x100000;
export const CKF_SO_PIN_FINAL_TRY = 0x200000;
export const CKF_SO_PIN_LOCKED = 0x400000;

/** State of a session in which the user is logged in, C_GetSessionInfo. */
export const CKS_RW_USER_FUNCTIONS = 3;

export const CKO = {
  DATA: 0,
  CERTIFICATE: 1,
  PUBLIC_KEY: 2,
  PRIVATE_KEY: 3,
  SECRET_KEY: 4,
  HW_FEATURE: 5,
  DOMAIN_PARAMETERS: 6,
  MECHANISM: 7,
  OTP_KEY: 8,
} as const;

export const CKK = {
  RSA: 0x00,
  DSA: 0x01,
  DH: 0x02,
  EC: 0x03,
  X9_42_DH: 0x04,
  GENERIC_SECRET: 0x10,
  DES: 0x13,
  DES2: 0x14,
  DES3: 0x15,
  AES: 0x1f,
  MD5_HMAC: 0x27,
  SHA_1_HMAC: 0x28,
  SHA256_HMAC: 0x2b,
  SHA384_HMAC: 0x2c,
  SHA512_HMAC: 0x2d,
  SHA224_HMAC: 0x2e,
  AES_XTS: 0x35,
  EC_EDWARDS: 0x40,
  EC_MONTGOMERY: 0x41,
} as const;

export const CKM = {
  RSA_PKCS_KEY_PAIR_GEN: 0x0000,
  RSA_PKCS: 0x0001,
  RSA_PKCS_OAEP: 0x0009,
  DSA: 0x0011,
  DH_PKCS_KEY_PAIR_GEN: 0x0020,
  DH_PKCS_DERIVE: 0x0021,
  X9_42_DH_DERIVE: 0x0031,
  SHA256_RSA_PKCS: 0x0040,
  SHA256_RSA_PKCS_PSS: 0x0043,
  DES2_KEY_GEN: 0x0130,
  DES3_KEY_GEN: 0x0131,
  DES3_ECB: 0x0132,
  DES3_CBC: 0x0133,
  DES3_CBC_PAD: 0x0136,
  DES3_CMAC: 0x0138,
  MD5_HMAC: 0x0211,
  SHA_1: 0x0220,
  SHA_1_HMAC: 0x0221,
  SHA256: 0x0250,
  SHA256_HMAC: 0x0251,
  SHA224_HMAC: 0x0256,
  SHA384_HMAC: 0x0261,
  SHA512_HMAC: 0x0271,
  GENERIC_SECRET_KEY_GEN: 0x0350,
  CONCATENATE_BASE_AND_DATA: 0x0362,
  SHA256_KEY_DERIVATION: 0x0393,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ECDH1_DERIVE: 0x1050,
  EC_EDWARDS_KEY_PAIR_GEN: 0x1055,
  EDDSA: 0x1057,
  AES_KEY_GEN: 0x1080,
  AES_ECB: 0x1081,
  AES_CBC: 0x1082,
  AES_CBC_PAD: 0x1085,
  AES_CTR: 0x1086,
  AES_GCM: 0x1087,
  AES_CMAC: 0x108a,
  DES3_ECB_ENCRYPT_DATA: 0x1102,
  AES_ECB_ENCRYPT_DATA: 0x1104,
  /** RFC 5649 at SoftHSM; another format at NSS. */
  AES_KEY_WRAP_PAD: 0x210a,
  /** RFC 5649 by PKCS#11 3.0 section 6.13.3. */
  AES_KEY_WRAP_KWP: 0x210b,
  /** RFC 5649 at AWS CloudHSM. */
  CLOUDHSM_AES_KEY_WRAP_ZERO_PAD: 0x8000_216f,
} as const;

/** Key derivation functions after an agreement: none, and those of ANSI X9.63 over each hash (CK_EC_KDF_TYPE). */
export const CKD = {
  NULL: 1,
  SHA1_KDF: 2,
  SHA224_KDF: 5,
  SHA256_KDF: 6,
  SHA384_KDF: 7,
  SHA512_KDF: 8,
} as const;
/** The label of RSA-OAEP is the one in the parameters. */
export const CKZ_DATA_SPECIFIED = 1;
export const CKG_MGF1_SHA1 = 1;
export const CKG_MGF1_SHA256 = 2;

/** CK_ULONG with all bits set: the length of an attribute that is not available (section 5.7.5). */
export const UNAVAILABLE = 0xffff_ffff_ffff_ffffn;

/** Object identifier of P-256 (RFC 5480), DER: the curve of identity and ephemeral keys. */
export const P256_PARAMS = Uint8Array.of(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07);
