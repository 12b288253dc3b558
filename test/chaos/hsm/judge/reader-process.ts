/**
 * A {@link TokenReader} in a process of its own: what a kill leaves in a token may crash the library that looks at it, and
 * that must be seen as what it is. Run as a program, it is that process.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { spki } from '../objects/known-objects.ts';
import { type Seen, type TokenPlace, TokenReader } from './token-reader.ts';

interface Question {
  readonly place: TokenPlace;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeys: readonly Uint8Array[];
}

type Answer = { readonly seen: readonly Seen[] } | { readonly failure: string };

const SELF = fileURLToPath(import.meta.url);

export class ReaderProcess {
  readonly #publicKeys: readonly Uint8Array[];
  #child: ChildProcess | undefined;
  /** How often the library has crashed; a look that crashes it is repeated once. */
  crashes = 0;

  constructor(publicKeys: readonly KeyObject[]) {
    this.#publicKeys = publicKeys.map(spki);
  }

  /** One look at a time. @throws where the library crashes twice, and what it says */
  async read(place: TokenPlace): Promise<Seen[]> {
    const first = await this.#ask(place);
    const answer = typeof first === 'string' ? await this.#ask(place) : first;
    if (typeof answer === 'string')
      throw new Error(`the PKCS#11 library ends with ${answer} when it looks at the token`);
    if ('failure' in answer) throw new Error(answer.failure);
    return [...answer.seen];
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  /** The objects it sees, or the signal that ended it. */
  async #ask(place: TokenPlace): Promise<Answer | string> {
    this.#child ??= fork(SELF, ['reader'], { serialization: 'advanced', execArgv: [], stdio: ['ignore', 2, 2, 'ipc'] });
    const child = this.#child;
    const answer = await new Promise<Answer | string>((resolve) => {
      const end = (code: number | null, signal: string | null): void => resolve(signal ?? `exit code ${code}`);
      child.once('exit', end);
      child.once('message', (message: Answer) => {
        child.off('exit', end);
        resolve(message);
      });
      child.send({ place, publicKeys: this.#publicKeys } satisfies Question, () => {});
    });
    child.removeAllListeners();
    if (typeof answer === 'string') {
      this.crashes += 1;
      this.#child = undefined;
    }
    return answer;
  }
}

if (process.argv[1] === SELF) {
  const reader = new TokenReader();
  process.on('disconnect', () => process.exit(0));
  process.on('message', ({ place, publicKeys }: Question) => {
    const answer = (): Answer => {
      try {
        const keys = publicKeys.map((key) => createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' }));
        return { seen: reader.read(place, keys) };
      } catch (thrown) {
        return { failure: String((thrown as Error).stack) };
      }
    };
    process.send!(answer());
  });
}
