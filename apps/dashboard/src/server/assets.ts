/**
 * The files of the page. There is no build step: the types of a module are stripped when it is first asked for, and names
 * of packages in its imports become paths. Only what is listed here is served.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

export interface Asset {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly gzip: Buffer;
  readonly brotli: Buffer;
}

const PAGE = new URL('../../page/', import.meta.url);
const MODULES = new URL('../../../../node_modules/', import.meta.url);

/** Modules of others that the page may import, by the name in its imports. */
const IMPORTS: Readonly<Record<string, { readonly path: string; readonly file: URL }>> = {
  'lit-html': { path: '/vendor/lit-html.js', file: new URL('lit-html/lit-html.js', MODULES) },
  'lit-html/directives/repeat.js': {
    path: '/vendor/directives/repeat.js',
    file: new URL('lit-html/directives/repeat.js', MODULES),
  },
  'lit-html/directives/guard.js': {
    path: '/vendor/directives/guard.js',
    file: new URL('lit-html/directives/guard.js', MODULES),
  },
  'lit-html/directive.js': { path: '/vendor/directive.js', file: new URL('lit-html/directive.js', MODULES) },
  'lit-html/directive-helpers.js': {
    path: '/vendor/directive-helpers.js',
    file: new URL('lit-html/directive-helpers.js', MODULES),
  },
};

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  ts: 'text/javascript; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

export class Assets {
  readonly #files = new Map<string, URL>();
  readonly #made = new Map<string, Asset>();

  constructor() {
    for (const name of readdirSync(fileURLToPath(PAGE)).sort())
      if (/\.(ts|css|svg)$/.test(name) && !/\.test\.ts$|\.d\.ts$/.test(name))
        this.#files.set(`/page/${name}`, new URL(name, PAGE));
    for (const { path, file } of Object.values(IMPORTS)) this.#files.set(path, file);
    this.#files.set('/', new URL('index.html', PAGE));
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** Undefined for a path that is not served. */
  of(path: string): Asset | undefined {
    const file = this.#files.get(path);
    if (file === undefined) return undefined;
    const asset = this.#made.get(path) ?? this.#make(path, file);
    this.#made.set(path, asset);
    return asset;
  }

  #make(path: string, file: URL): Asset {
    const plain = Buffer.from(this.#textOf(path, readFileSync(file, 'utf8')));
    const ending = file.pathname.slice(file.pathname.lastIndexOf('.') + 1);
    return {
      type: TYPES[ending]!,
      etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`,
      plain,
      gzip: gzipSync(plain),
      brotli: brotliCompressSync(plain),
    };
  }

  #textOf(path: string, source: string): string {
    if (path.endsWith('.ts')) return withPaths(stripped(source));
    if (path.endsWith('.js')) return source.replace(/^\/\/# sourceMappingURL=.*$/m, '');
    if (path !== '/') return source;
    // All modules are asked for at once, not one behind the other.
    const modules = [...this.#files.keys()].filter((name) => /\.(ts|js)$/.test(name));
    return source.replace(
      '<!-- modules -->',
      modules.map((name) => `<link rel="modulepreload" href="${name}">`).join('\n    '),
    );
  }
}

/** Names of packages become paths: a browser knows no packages, and an import map would be an inline script. */
const withPaths = (source: string): string =>
  source.replace(/(\bfrom\s*|\bimport\s*)'([^'.][^']*)'/g, (whole, word: string, name: string) => {
    const known = IMPORTS[name];
    return known === undefined ? whole : `${word}'${known.path}'`;
  });

/** Node says on each first use that the function may change. Its version is locked, and an operator need not read that. */
function stripped(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    // Blanks take the place of types, and compression takes care of them.
    return stripTypeScriptTypes(source, { mode: 'strip' });
  } finally {
    process.emitWarning = emitWarning;
  }
}
