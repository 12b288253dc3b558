/** The way to the local server: the session, the stream of updates, questions and orders. */
import type { Told, Update } from '../src/model/entries.ts';

const KEY = 'antipode-key';

/** An answer of the local server that is an error. */
export class Refusal extends Error {
  readonly told: Told;
  readonly status: number;

  constructor(told: Told, status: number) {
    super(told.message);
    this.told = told;
    this.status = status;
  }
}

/**
 * Exchanges the token in the address for a session. The token leaves the address at once, so that no history and no
 * picture of the window has it.
 */
export async function openSession(): Promise<void> {
  const token = location.hash.slice(1);
  if (!/^[\w-]{43}$/.test(token)) return;
  history.replaceState(undefined, '', '#/');
  try {
    const { key } = (await ask('POST', '/api/session', { token })) as { readonly key: string };
    localStorage.setItem(KEY, key);
  } catch (thrown) {
    // The page can be open already, by the session that the token was used for.
    if (!(thrown instanceof Refusal)) throw thrown;
  }
}

export const get = <Answer>(path: string): Promise<Answer> => ask('GET', path) as Promise<Answer>;
export const post = <Answer>(path: string, body: unknown): Promise<Answer> =>
  ask('POST', path, body) as Promise<Answer>;

async function ask(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(path, {
    method,
    cache: 'no-store',
    ...(body === undefined
      ? {}
      : {
          body: JSON.stringify(body),
          headers: { 'content-type': 'application/json', [KEY]: localStorage.getItem(KEY) ?? '' },
        }),
  }).catch(() => {
    const message = 'the dashboard on this machine does not answer';
    throw new Refusal({ code: 'SITE_UNREACHABLE', message, hint: 'Is `antipode dashboard` still running?' }, 0);
  });
  const answer = (await response.json()) as { readonly error?: Told };
  if (response.ok) return answer;
  throw new Refusal(
    answer.error ?? { code: String(response.status), message: response.statusText, hint: '' },
    response.status,
  );
}

/** Hears every update, and when the server refuses this page. A lost connection is opened again by the browser. */
export function hear({ update, refused }: { update: (update: Update) => void; refused: () => void }): void {
  const source = new EventSource('/api/stream');
  source.addEventListener('message', ({ data }: MessageEvent<string>) => update(JSON.parse(data) as Update));
  // Closed for good: the server did not answer with events.
  source.addEventListener('error', () => source.readyState === EventSource.CLOSED && refused());
}
