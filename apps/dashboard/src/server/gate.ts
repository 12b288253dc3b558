/**
 * The right to speak to the local server. A browser runs the pages of everybody, so a request must be from our own page.
 * The host that it names shows that (DNS rebinding), its origin (cross-site requests), and a session that only the holder
 * of the printed token can open. Behind a proxy, a secret of the proxy takes the place of the session.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AntipodeError } from '@antipode/runtime';

/** Where pages are served, and who lets people in. */
export type Door =
  /** On loopback: the token in the printed address opens a session. */
  | { readonly kind: 'loopback'; readonly port: number }
  /** Behind a proxy with its own login, which sends the secret with each request. */
  | { readonly kind: 'proxy'; readonly origin: string; readonly secret: string };

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

/** Sessions that one process keeps: an operator has few browsers. */
const SESSIONS_MAX = 16;
const PROXY_HEADER = 'antipode-proxy';
/** The page keeps it where only pages of this very origin can read it; cookies are seen by every port of a host. */
export const KEY_HEADER = 'antipode-key';

interface Session {
  readonly cookie: string;
  readonly key: string;
}

export class Gate {
  readonly #door: Door;
  readonly #sessions: Session[] = [];
  #token = secret();

  constructor(door: Door) {
    this.#door = door;
  }

  /** The address to open. Its token is behind the `#`, so that it is in no request line and no log. It works once. */
  get address(): string {
    const { origin } = this;
    return this.#door.kind === 'loopback' ? `${origin}/#${this.#token}` : `${origin}/`;
  }

  get origin(): string {
    return this.#door.kind === 'loopback' ? `http://127.0.0.1:${this.#door.port}` : this.#door.origin;
  }

  /** @throws DASHBOARD_REFUSED for a request that does not name this server, or comes from a page of another origin */
  admit({ method, headers }: Asked): void {
    if (this.#door.kind === 'proxy' && !isSame(one(headers[PROXY_HEADER]), this.#door.secret))
      throw refused(`the request does not carry the secret of the proxy in the header ${PROXY_HEADER}`);
    const host = one(headers.host);
    if (!this.#hosts().includes(host)) throw refused(`the request names the host ${JSON.stringify(host)}`);
    const site = one(headers['sec-fetch-site']);
    const isNavigation = one(headers['sec-fetch-mode']) === 'navigate' && method === 'GET';
    if (site !== '' && site !== 'same-origin' && site !== 'none' && !isNavigation)
      throw refused('the request comes from a page of another origin');
    if (method === 'GET' || method === 'HEAD') return;
    const origin = one(headers.origin);
    if (origin !== this.#originOf(host)) throw refused(`the request has the origin ${JSON.stringify(origin)}`);
    if (!/^application\/json\b/.test(one(headers['content-type'])))
      throw refused('the request does not have the content type application/json');
  }

  /** Opens a session for whoever has the token, which then changes. @throws DASHBOARD_REFUSED */
  exchange(token: string): { readonly cookie: string; readonly key: string } {
    if (this.#door.kind === 'proxy') throw refused('behind a proxy there are no tokens');
    if (!isSame(token, this.#token)) throw refused('the token is not the one that was printed last');
    this.#token = secret();
    const session = { cookie: secret(), key: secret() };
    this.#sessions.push(session);
    if (this.#sessions.length > SESSIONS_MAX) this.#sessions.shift();
    const cookie = `${this.#cookieName}=${session.cookie}; HttpOnly; SameSite=Strict; Path=/`;
    return { cookie, key: session.key };
  }

  /** @throws DASHBOARD_REFUSED for a request for data outside of a session, or for an order without its key */
  require({ method, headers }: Asked): void {
    if (this.#door.kind === 'proxy') return;
    const [, given = ''] = new RegExp(`(?:^|; )${this.#cookieName}=([\\w-]+)`).exec(one(headers.cookie)) ?? [];
    const session = this.#sessions.find(({ cookie }) => isSame(given, cookie));
    if (session === undefined) throw refused('the request belongs to no session');
    if (method !== 'GET' && !isSame(one(headers[KEY_HEADER]), session.key))
      throw refused('the request does not carry the key of its session');
  }

  /** Cookies are shared by all ports of a host: two dashboards must not take each other's. */
  get #cookieName(): string {
    return `antipode-${this.#door.kind === 'loopback' ? this.#door.port : 'proxy'}`;
  }

  #hosts(): string[] {
    if (this.#door.kind === 'proxy') return [new URL(this.#door.origin).host];
    return ['127.0.0.1', 'localhost', '[::1]'].map((name) => `${name}:${(this.#door as { port: number }).port}`);
  }

  #originOf(host: string): string {
    return this.#door.kind === 'loopback' ? `http://${host}` : this.#door.origin;
  }
}

const secret = (): string => randomBytes(32).toString('base64url');

const one = (header: string | string[] | undefined): string =>
  Array.isArray(header) ? (header[0] ?? '') : (header ?? '');

/** In a time that does not tell how much of it was right. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

const refused = (why: string): AntipodeError => new AntipodeError('DASHBOARD_REFUSED', why);
