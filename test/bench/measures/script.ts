/** The script that a user would write today: one pkcs11-tool to wrap and one to unwrap, for each AES key. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@antipode/runtime';
import type { TestToken } from '../../support/tokens.ts';
import { pkcs11Tool, type Workspace } from '../places/workspace.ts';

const WRAPPING_KEY_ID = 'ffff';
/** CKM_AES_KEY_WRAP_PAD, which pkcs11-tool knows by number only. */
const KEY_WRAP = '0x210A';

export class UserScript {
  readonly #workspace: Workspace;
  readonly #source: TestToken;
  readonly #target: TestToken;
  readonly #blob: string;
  #next = 0;

  private constructor(options: { workspace: Workspace; source: TestToken; target: TestToken; blob: string }) {
    this.#workspace = options.workspace;
    this.#source = options.source;
    this.#target = options.target;
    this.#blob = options.blob;
  }

  /** Both tokens get the wrapping key, which is not timed. The AES keys at the source are numbered from 0. */
  static async prepare(options: { workspace: Workspace; source: TestToken; target: TestToken }): Promise<UserScript> {
    const { workspace, source, target } = options;
    const folder = workspace.folder('script');
    const key = join(folder, 'wrapping-key');
    writeFileSync(key, randomBytes(32));
    const script = new UserScript({ ...options, blob: join(folder, 'blob') });
    const write = ['--write-object', key, '--type', 'secrkey', '--key-type', 'AES:32', '--usage-wrap'];
    for (const token of [source, target])
      await script.#tool(token, ...write, '--id', WRAPPING_KEY_ID, '--label', 'wrapping key');
    return script;
  }

  /** Milliseconds for each key: the next `count` ones. */
  async run(count: number): Promise<number> {
    const startMs = systemClock.monotonicMs();
    for (let done = 0; done < count; done += 1) await this.#replicate(this.#next++);
    return (systemClock.monotonicMs() - startMs) / count;
  }

  async #replicate(index: number): Promise<void> {
    const id = index.toString(16).padStart(16, '0');
    const under = ['--mechanism', KEY_WRAP, '--id', WRAPPING_KEY_ID, '--application-id', id];
    await this.#tool(this.#source, '--wrap', ...under, '--output-file', this.#blob);
    if (readFileSync(this.#blob).length === 0) throw new Error('pkcs11-tool wrote no wrapped key');
    const made = ['--key-type', 'AES:', '--application-label', `key ${index}`, '--sensitive', '--extractable'];
    await this.#tool(this.#target, '--unwrap', ...under, '--input-file', this.#blob, ...made);
  }

  #tool(token: TestToken, ...rest: string[]): Promise<string> {
    const { args, environment } = pkcs11Tool(token);
    return this.#workspace.run('pkcs11-tool', [...args, ...rest], environment);
  }
}
