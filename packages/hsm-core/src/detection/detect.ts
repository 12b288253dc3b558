/** Asks each module of this machine for its tokens, in a child process each: one that hangs or crashes stops no other. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@antipode/runtime';
import type { ModuleCandidate } from './candidates.ts';
import type { ProbedToken, ProbeOrder, ProbeWord } from './probe.ts';

export interface DetectedModule extends ModuleCandidate {
  readonly tokens: readonly ProbedToken[];
  /** Why the list may be incomplete; empty if it is not. */
  readonly problem: string;
}

export interface DetectOptions {
  readonly clock: Clock;
  /** For the modules only, such as SOFTHSM2_CONF. */
  readonly environment: Readonly<Record<string, string>>;
  /** A network HSM that answers at all does so long before. */
  readonly silenceMsMax?: number;
}

const PROBE = fileURLToPath(new URL('probe.ts', import.meta.url));
const SILENCE_MS_MAX = 10_000;
/** Of a child process, until it loads the module. A machine under load starts it slowly. */
const START_MS_MAX = 60_000;
const AT_ONCE = 4;
/** Of one module. More slots than this that say nothing are a module that says nothing. */
const SILENT_SLOTS_MAX = 3;

export async function detectTokens(
  candidates: readonly ModuleCandidate[],
  options: DetectOptions,
): Promise<DetectedModule[]> {
  const found: DetectedModule[] = [];
  const waiting = [...candidates.entries()];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [at, candidate] = next;
      found[at] = await detectIn(candidate, options);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found;
}

async function detectIn(candidate: ModuleCandidate, options: DetectOptions): Promise<DetectedModule> {
  const skipped: string[] = [];
  for (;;) {
    const { tokens, silentSlot, problem } = await probe({ ...candidate, skipped }, options);
    const silent = [...skipped, ...(silentSlot === undefined ? [] : [silentSlot])];
    if (silentSlot === undefined || silent.length > SILENT_SLOTS_MAX) {
      const ofSlots = silent.length === 0 ? '' : `slot ${silent.join(', ')} did not answer`;
      return { ...candidate, tokens, problem: [problem, ofSlots].filter((text) => text !== '').join('; ') };
    }
    skipped.push(silentSlot);
  }
}

interface Probed {
  readonly tokens: readonly ProbedToken[];
  /** It was asked and said nothing. */
  readonly silentSlot: string | undefined;
  readonly problem: string;
}

function probe(
  { module, parameters, skipped }: ProbeOrder,
  { clock, environment, silenceMsMax = SILENCE_MS_MAX }: DetectOptions,
): Promise<Probed> {
  const { PATH = '', HOME = '' } = process.env;
  // Its own words on standard output or error are none of ours.
  const child = fork(PROBE, [], { env: { PATH, HOME, ...environment }, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const tokens: ProbedToken[] = [];
  let asked: string | undefined;
  let problem: string | undefined;
  let hasBegun = false;
  let heardMs = clock.monotonicMs();
  const limitMs = (): number => (hasBegun ? silenceMsMax : START_MS_MAX);
  const ended = new AbortController();
  const watch = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      const leftMs = heardMs + limitMs() - clock.monotonicMs();
      if (leftMs <= 0) return void child.kill('SIGKILL');
      await clock.sleep(Math.min(leftMs, silenceMsMax), ended.signal);
    }
  };
  return new Promise((resolve) => {
    child.on('message', (word: ProbeWord) => {
      heardMs = clock.monotonicMs();
      if ('begun' in word) hasBegun = true;
      else if ('slot' in word) asked = word.slot;
      else if ('token' in word) {
        tokens.push(word.token);
        asked = undefined;
      } else {
        asked = undefined;
        problem = 'failure' in word ? word.failure : '';
      }
    });
    child.once('error', (cause) => {
      problem ??= cause.message;
    });
    child.once('exit', (code, signal) => {
      const isSilent = !ended.signal.aborted && signal === 'SIGKILL' && clock.monotonicMs() - heardMs >= limitMs();
      ended.abort();
      if (problem !== undefined) resolve({ tokens, silentSlot: undefined, problem });
      else if (isSilent && asked !== undefined) resolve({ tokens, silentSlot: asked, problem: '' });
      else
        resolve({
          tokens,
          silentSlot: undefined,
          problem: isSilent
            ? `it did not answer within ${limitMs() / 1_000} s`
            : `its process ended with ${signal ?? `status ${code}`}`,
        });
    });
    child.send({ module, ...(parameters === undefined ? {} : { parameters }), skipped } satisfies ProbeOrder, () => {});
    void watch();
  });
}
