/**
 * A token of SoftHSM behind a PKCS#11 module that lies on order. The head of lying-module.c lists the orders. Each
 * token has its own copy of the module with its orders beside it, so that every program that loads the copy meets the
 * same lies.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { returnValueName } from '@antipode/cryptoki';
import { ATTRIBUTES, type AttributeName } from '@antipode/hsm-core/testing';
import type { TestToken } from '../tokens.ts';

/** A name of the table of attributes, or the number of one that it does not have. */
type Attribute = AttributeName | number;
/** A name of the standard, or the number of one that it does not have. */
type ReturnValue = `CKR_${string}` | number;

/** Which calls an order is for; all of them where nothing is said. */
export interface Fitting {
  readonly function?: `C_${string}`;
  /** Of an object of the call, of the key in use, or in a template. */
  readonly label?: string;
  readonly class?: number;
  readonly mechanism?: number;
  readonly slot?: number;
  /** Not the first N calls that fit. */
  readonly after?: number;
  /** Only so many of them. Counted over all processes, so that 1 means once, even if a worker is restarted. */
  readonly times?: number;
  /** Until some process initialises the module: what is void is the session. */
  readonly untilRestart?: 1;
}

export type Order = Fitting &
  (
    | { readonly lie: 'refuse' | 'fail-afterwards'; readonly code: ReturnValue }
    | { readonly lie: 'delay'; readonly ms: number }
    | { readonly lie: 'hang' }
    | { readonly lie: 'ignore'; readonly attribute: Attribute }
    | { readonly lie: 'read-only'; readonly attribute: Attribute; readonly value?: Uint8Array }
    | { readonly lie: 'force' | 'replace'; readonly attribute: Attribute; readonly value: Uint8Array }
    | { readonly lie: 'hide'; readonly attribute: Attribute; readonly code?: ReturnValue }
    | { readonly lie: 'answer'; readonly attribute: Attribute; readonly value: Uint8Array }
    | { readonly lie: 'answer'; readonly attribute: Attribute; readonly length: number }
    | { readonly lie: 'stop-at-first-missing' }
    | { readonly lie: 'extra-slot'; readonly code: ReturnValue }
    | { readonly lie: 'reuse-handles' }
    | { readonly lie: 'token-flags'; readonly flags: number }
    | { readonly lie: 'pad' }
    | { readonly lie: 'substitute'; readonly value: Uint8Array }
    | { readonly lie: 'kdf' | 'wrap-number'; readonly number: number }
    | { readonly lie: 'der-points' }
  );

/** The number of the slot that `extra-slot` adds. */
export const EXTRA_SLOT = 0x7fff0001;
export const FALSE = Buffer.of(0);
export const TRUE = Buffer.of(1);

export interface LyingToken extends TestToken {
  /** The same token without the module in front. */
  readonly honest: TestToken;
  /** Replaces all orders; those counted begin again. Without any, the module tells the truth. */
  tell(...orders: Order[]): void;
  /** How often a function was called since the last orders, by all processes. */
  calls(name: `C_${string}`): number;
}

/** Puts the module in front of a token. Handles are reused from the next start of a process on, all else at once. */
export function lying(honest: TestToken, ...first: Order[]): LyingToken {
  const module = join(honest.folder, `${honest.label}-lying.so`);
  copyFileSync(builtModule(), module);
  let told = 0;
  const counters = (): string => `${module}.counters.${told}`;
  const tell = (...orders: Order[]): void => {
    rmSync(counters(), { force: true });
    told += 1;
    writeFileSync(counters(), Buffer.alloc(COUNTERS_BYTES));
    const lines = [`counters path=${counters()}`, ...orders.map(lineOf)];
    writeFileSync(`${module}.orders.new`, lines.map((line) => `${line}\n`).join(''));
    // At once: a call sees all of the old orders or all of the new ones.
    renameSync(`${module}.orders.new`, `${module}.orders`);
  };
  tell(...first);
  return {
    ...honest,
    config: { ...honest.config, module },
    honest,
    tell,
    calls: (name) => {
      const index = FUNCTION_NAMES.indexOf(name);
      if (index === -1) throw new Error(`no function ${name}`);
      return Number(readFileSync(counters()).readBigUInt64LE(index * 8));
    },
  };
}

const SOURCE = fileURLToPath(new URL('./lying-module.c', import.meta.url));
const FUNCTION_NAMES = [...readFileSync(SOURCE, 'utf8').matchAll(/ROW\((C_\w+), "/g)].map(([, name]) => name);
const ORDERS_MAX = 64;
const COUNTERS_BYTES = 8 * (FUNCTION_NAMES.length + ORDERS_MAX);

/**
 * The path of the compiled module. It is built where no process has built this source before, under a name of its own
 * first: test files run side by side, and each must find a whole file or none.
 */
function builtModule(): string {
  const folder = fileURLToPath(new URL('../../../node_modules/.cache/antipode-devices/', import.meta.url));
  const digest = createHash('sha256').update(readFileSync(SOURCE)).digest('hex').slice(0, 16);
  const module = join(folder, `lying-${digest}.so`);
  if (existsSync(module)) return module;
  mkdirSync(folder, { recursive: true });
  const mine = `${module}.${process.pid}`;
  const compiler = existsSync('/usr/bin/cc') ? 'cc' : 'gcc';
  execFileSync(compiler, ['-shared', '-fPIC', '-O1', '-std=gnu11', '-Wall', '-Wextra', '-o', mine, SOURCE, '-ldl'], {
    stdio: 'pipe',
  });
  renameSync(mine, module);
  return module;
}

function lineOf(order: Order): string {
  const { lie, ...words } = order;
  return [lie, ...Object.entries(words).map(([name, word]) => `${name}=${wordOf(name, word)}`)].join(' ');
}

function wordOf(name: string, word: string | number | Uint8Array): string {
  if (word instanceof Uint8Array) return Buffer.from(word).toString('hex');
  if (typeof word === 'number') return String(word);
  if (name === 'label') return Buffer.from(word).toString('hex');
  if (name === 'attribute') return String(ATTRIBUTES[word as AttributeName].type);
  if (name === 'code') return String(returnValueNumber(word));
  return word;
}

function returnValueNumber(name: string): number {
  for (let value = 0; value < 0x200; value += 1) if (returnValueName(value) === name) return value;
  throw new Error(`no return value ${name}`);
}
