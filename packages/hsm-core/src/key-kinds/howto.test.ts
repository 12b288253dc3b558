/** The page on adding a kind of key, followed step by step. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { KeyType } from '../model/object.ts';
import { ec } from './ec.ts';
import type { KeyKind } from './key-kind.ts';

const ROOT = '../../../../';
const text = (path: string): string => readFileSync(new URL(`${ROOT}${path}`, import.meta.url), 'utf8');
const page = text('docs/howto/key-kind.md');

describe('the page on adding a kind of key', () => {
  it('shows the file of a kind that there is', () => {
    const [, shown = ''] = /```ts\n([\s\S]*?)\n```/.exec(page) ?? [];
    expect(shown).toBe(text('packages/hsm-core/src/key-kinds/dsa.ts').trimEnd());
  });

  it('names at most three files that exist', () => {
    const existing = [...page.matchAll(/^\| \d+ +\| `([^`]+)` +\| existing:/gm)].map(([, path = '']) => path);
    expect(existing.length).toBeGreaterThan(0);
    expect(existing.length).toBeLessThanOrEqual(3);
    expect(existing.filter((path) => !existsSync(new URL(`${ROOT}${path}`, import.meta.url)))).toEqual([]);
  });

  it('is right that the compiler asks for the kind of each key type', () => {
    const kinds = { ec };
    // @ts-expect-error other key types of the manifest have no kind here
    const all: { [Type in KeyType]: KeyKind & { readonly type: Type } } = kinds;
    expect(Object.keys(all)).toEqual(['ec']);
  });
});
