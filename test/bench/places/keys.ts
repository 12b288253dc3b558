/** How many keys of which kind a token is filled with. */
import { fileURLToPath } from 'node:url';
import type { TestToken } from '../../support/tokens.ts';
import type { Workspace } from './workspace.ts';

export interface Keys {
  readonly aes: number;
  readonly ec: number;
  readonly rsa: number;
}

/** The orders for `fill.ts`. */
export interface FillOrder {
  readonly token: TestToken;
  readonly keys: Keys;
  /** Number of the first key: CKA_ID and label are made from it. */
  readonly first: number;
}

/** RSA-2048 30 %, EC P-256 40 %, AES-256 the rest. */
export function mixed(count: number): Keys {
  const [rsa, ec] = [Math.round(count * 0.3), Math.round(count * 0.4)];
  return { rsa, ec, aes: count - rsa - ec };
}

export const onlyAes = (count: number): Keys => ({ aes: count, ec: 0, rsa: 0 });

/** A key pair is two objects. */
export const objectsOf = ({ aes, ec, rsa }: Keys): number => aes + 2 * (ec + rsa);

const FILL = fileURLToPath(new URL('./fill.ts', import.meta.url));

export async function fill(workspace: Workspace, token: TestToken, keys: Keys, first = 0): Promise<void> {
  await workspace.run(process.execPath, [FILL, JSON.stringify({ token, keys, first } satisfies FillOrder)]);
}
