/**
 * The permitted imports, and the permitted sources of time and chance. Tests and their support are free: they import
 * across services, read the clock and wait.
 */
import { dirname, join } from 'node:path/posix';
import { importsOf, isText, type Token, tokensOf } from './tokens.ts';
import type { SourceFile } from './tree.ts';

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
}

/** The parts of the system, and which of ours each may import besides itself. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  'packages/runtime': [],
  'packages/cryptoki': ['packages/runtime'],
  'packages/hsm-core': ['packages/runtime', 'packages/cryptoki'],
  'packages/protocol': ['packages/runtime'],
  'packages/setup': ['packages/runtime', 'packages/protocol'],
  'packages/operator': ['packages/runtime', 'packages/protocol'],
  'services/site-agent': ['packages/runtime', 'packages/hsm-core', 'packages/protocol'],
  // It never touches key material, sealed or not: it could not even parse it.
  'services/coordinator': ['packages/runtime', 'packages/protocol'],
  // It is handed the commands of the command line, which starts it.
  'apps/demo': ['packages/runtime', 'packages/protocol', 'packages/setup', 'services/site-agent'],
  // It is handed the connection to the coordinator, and no key material.
  'apps/dashboard': ['packages/runtime', 'packages/protocol', 'packages/operator'],
  'apps/cli': [
    'packages/runtime',
    'packages/operator',
    'apps/dashboard',
    // For the processes that it starts. It makes no PKCS#11 call.
    'packages/cryptoki',
    'packages/hsm-core',
    'packages/protocol',
    'packages/setup',
    'services/site-agent',
    'services/coordinator',
    'apps/demo',
  ],
};

const PART_OF_PACKAGE: Readonly<Record<string, string>> = Object.fromEntries(
  Object.keys(PARTS).map((part) => [`@antipode/${part.slice(part.indexOf('/') + 1)}`, part]),
);

/** Packages of others that have one home, so that replacing one means rewriting one folder. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  koffi: ['packages/cryptoki/src/'],
  '@grpc/grpc-js': ['packages/protocol/src/'],
  bullmq: ['services/coordinator/src/queue/', 'services/coordinator/src/embedded/'],
  ioredis: ['services/coordinator/src/queue/', 'services/coordinator/src/embedded/'],
  pg: ['services/coordinator/src/store/', 'services/coordinator/src/embedded/'],
  nodemailer: ['services/coordinator/src/notices/'],
  kysely: ['services/coordinator/src/store/', 'services/coordinator/src/embedded/'],
  'lit-html': ['apps/dashboard/page/'],
};

const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate']);

/** Names under which the globals can be reached: `globalThis.setTimeout` is as bare as `setTimeout`. */
const GLOBALS = new Set(['globalThis', 'global']);

export function violationsOf({ path, source }: SourceFile): Violation[] {
  const tokens = tokensOf(source);
  if (isTest(path)) return testViolations(path, tokens);
  return [
    ...importViolations(path, tokens),
    ...hiddenImports(path, tokens),
    ...queryViolations(path, tokens),
    ...timeViolations(path, tokens),
  ];
}

function isTest(path: string): boolean {
  return path.startsWith('test/') || path.endsWith('.test.ts') || path.includes('/src/testing/');
}

/** Tests are free to import every part, but only through its exports: files move within a part without them. */
function testViolations(path: string, tokens: readonly Token[]): Violation[] {
  return importsOf(tokens).flatMap(({ from, line }) => {
    const target = from.startsWith('.') ? partOf(join(dirname(path), from)) : undefined;
    const isInside = target === undefined || target === partOf(path);
    return isInside ? [] : [{ path, line, rule: `tests reach ${target} through its exports, not by ${from}` }];
  });
}

function importViolations(path: string, tokens: readonly Token[]): Violation[] {
  const part = partOf(path);
  if (part === undefined) return [{ path, line: 1, rule: `no rule says what ${path} may import` }];
  return importsOf(tokens).flatMap(({ from, line }) => {
    const rule = brokenRule({ path, part, from });
    return rule === undefined ? [] : [{ path, line, rule }];
  });
}

/** Imports whose target no rule can see: it is computed, or a function other than `import` loads it. */
function hiddenImports(path: string, tokens: readonly Token[]): Violation[] {
  const hides = (at: number): boolean => {
    const [text, next, , end] = tokens.slice(at, at + 4).map((token) => token.text);
    if (text === 'createRequire') return true;
    if (text !== 'import') return false;
    if (next === '.') return tokens[at + 2]?.text === 'meta' && tokens[at + 4]?.text === 'resolve';
    return (
      next === '(' && !(tokens[at + 2] !== undefined && isText(tokens[at + 2]!) && [')', ',', 'as'].includes(end ?? ''))
    );
  };
  return tokens.flatMap(({ line }, at) =>
    hides(at) ? [{ path, line, rule: 'an import names its target in one string' }] : [],
  );
}

/** The methods that begin a statement in kysely. Other code calls a function of the store instead. */
const STATEMENTS = new Set(['selectFrom', 'insertInto', 'updateTable', 'deleteFrom', 'mergeInto']);

function queryViolations(path: string, tokens: readonly Token[]): Violation[] {
  if (HOMES['kysely']!.some((home) => path.startsWith(home))) return [];
  return tokens.flatMap(({ text, line }, at) =>
    STATEMENTS.has(text) && ['.', '?.'].includes(tokens[at - 1]?.text ?? '')
      ? [{ path, line, rule: `${text} belongs in ${HOMES['kysely']![0]}` }]
      : [],
  );
}

interface ImportAt {
  readonly path: string;
  readonly part: string;
  readonly from: string;
}

function brokenRule({ path, part, from }: ImportAt): string | undefined {
  const target = from.startsWith('.') ? partOf(join(dirname(path), from)) : PART_OF_PACKAGE[packageOf(from)];
  if (/^(?:[/#]|file:)/.test(from)) return `an import by path is relative, not ${from}`;
  if (from.startsWith('.') && isTest(join(dirname(path), from))) return `only tests import ${from}`;
  if (from.startsWith('.')) return target === part ? undefined : `${part} reaches out of its folder: ${from}`;
  if (from.startsWith('@antipode/') && target === undefined) return `unknown part of ours: ${from}`;
  if (target !== undefined && target !== part && PARTS[part]?.includes(target) !== true) {
    return `${part} must not import ${target}`;
  }
  if (target !== undefined && /\/testing(\/|$)/.test(from)) return `only tests import ${from}`;
  const homes = HOMES[packageOf(from)];
  if (homes !== undefined && !homes.some((home) => path.startsWith(home))) {
    return `${packageOf(from)} only in ${homes.join(' and ')}`;
  }
  return undefined;
}

function partOf(path: string): string | undefined {
  return Object.keys(PARTS).find((part) => path.startsWith(`${part}/`));
}

/** `@scope/name/deep` and `name/deep` without what follows the name. */
function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function timeViolations(path: string, tokens: readonly Token[]): Violation[] {
  if (path.startsWith('packages/runtime/src/') || path.endsWith('/main.ts')) return [];
  const imports = importsOf(tokens).filter(({ from }) => /^(node:)?timers(\/promises)?$/.test(from));
  const uses = tokens.flatMap((token, at) => {
    const rule = usedTime(tokens, at);
    return rule === undefined ? [] : [{ path, line: token.line, rule }];
  });
  return [...imports.map(({ line }) => ({ path, line, rule: 'timers only through a Clock' })), ...uses];
}

/** The source of time or chance that the token at this place uses, if any. */
function usedTime(tokens: readonly Token[], at: number): string | undefined {
  const textAt = (offset: number) => tokens[at + offset]?.text;
  const isProperty = ['.', '?.'].includes(textAt(-1) ?? '') && !GLOBALS.has(textAt(-2) ?? '');
  const text = textAt(0) ?? '';
  if (isProperty) return undefined;
  const isCalled = textAt(1) === '(';
  if (text === 'Date' && ['.', '?.'].includes(textAt(1) ?? '') && textAt(2) === 'now') {
    return 'Date.now only through a Clock';
  }
  if (text === 'Date' && textAt(-1) === 'new' && (!isCalled || textAt(2) === ')')) {
    return 'new Date() without a time only through a Clock';
  }
  if (text === 'Date' && textAt(-1) !== 'new' && isCalled) return 'Date() only through a Clock';
  if (text === 'performance' && textAt(1) === '.') return 'performance.now only through a Clock';
  if (text === 'process' && ['hrtime', 'uptime'].includes(textAt(2) ?? '')) return 'a clock only through a Clock';
  if (text === 'AbortSignal' && textAt(2) === 'timeout') return 'AbortSignal.timeout only through a Clock';
  if (text === 'Math' && textAt(1) === '.' && textAt(2) === 'random') return 'Math.random only through a Prng';
  if (TIMERS.has(text) && textAt(1) !== ':') return `${text} only through a Clock`;
  return undefined;
}
