/**
 * Structures of the standard as bytes in memory. Layout: LP64, CK_ULONG of 8 bytes, little-endian, structures naturally
 * aligned (PKCS#11 3.0 base, section 2.1).
 */
import { CKF_OS_LOCKING_OK } from './constants.ts';
import { addressOf } from './template.ts';

export interface TokenInfo {
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly flags: number;
  readonly firmware: string;
}

export const TOKEN_INFO_SIZE = 208;

/** CK_TOKEN_INFO. */
export function readTokenInfo(info: Buffer): TokenInfo {
  const text = (from: number, length: number): string =>
    info
      .subarray(from, from + length)
      .toString('utf8')
      .replace(/[\0 ]+$/, '');
  return {
    label: text(0, 32),
    manufacturer: text(32, 32),
    model: text(64, 16),
    serial: text(80, 16),
    flags: Number(info.readBigUInt64LE(96)),
    firmware: `${info[186]}.${info[187]}`,
  };
}

export interface SessionInfo {
  readonly slot: bigint;
  readonly state: number;
}

export const SESSION_INFO_SIZE = 32;

/** CK_SESSION_INFO: slot, state, flags, device error. */
export function readSessionInfo(info: Buffer): SessionInfo {
  return { slot: info.readBigUInt64LE(), state: Number(info.readBigUInt64LE(8)) };
}

const INITIALIZE_ARGS_SIZE = 56;

/**
 * CK_C_INITIALIZE_ARGS, and behind it the parameters that it points to. NSS has a member more than the standard: the
 * parameters stand where others have pReserved, which comes after.
 */
export function initializeArguments(parameters: string | undefined): Buffer {
  const text = parameters === undefined ? '' : `${parameters}\0`;
  const packed = Buffer.alloc(INITIALIZE_ARGS_SIZE + Buffer.byteLength(text));
  packed.writeBigUInt64LE(BigInt(CKF_OS_LOCKING_OK), 32);
  if (text === '') return packed;
  packed.write(text, INITIALIZE_ARGS_SIZE);
  packed.writeBigUInt64LE(addressOf(packed) + BigInt(INITIALIZE_ARGS_SIZE), 40);
  return packed;
}

export function readUlongs(bytes: Buffer, count: number): bigint[] {
  return [...new BigUint64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + count * 8))];
}
