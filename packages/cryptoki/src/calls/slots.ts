/** Slot and token management functions (PKCS#11 3.0 base, section 5.5). */
import type { Module } from '../module.ts';
import { readTokenInfo, readUlongs, TOKEN_INFO_SIZE, type TokenInfo } from '../structures.ts';
import { ulong } from '../template.ts';

/** For C_GetSlotList: those with a token in them. */
const CK_TRUE = 1;

export const slots = (module: Module) => ({
  slots(): bigint[] {
    const count = ulong(0n);
    module.call('C_GetSlotList', CK_TRUE, null, count);
    const list = Buffer.alloc(Math.max(8, Number(count.readBigUInt64LE()) * 8));
    module.call('C_GetSlotList', CK_TRUE, list, count);
    return readUlongs(list, Number(count.readBigUInt64LE()));
  },

  tokenInfo(slot: bigint): TokenInfo {
    const info = Buffer.alloc(TOKEN_INFO_SIZE);
    module.call('C_GetTokenInfo', slot, info);
    return readTokenInfo(info);
  },
});
