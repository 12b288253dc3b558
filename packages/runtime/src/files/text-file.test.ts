import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { thrown } from '../testing/index.ts';
import { readTextFile, TEXT_BYTES_MAX } from './text-file.ts';

const folder = mkdtempSync('/dev/shm/antipode-text-');
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'file');

it('reads a whole file, with characters across the parts that it reads', () => {
  const text = 'ä'.repeat(100_001);
  writeFileSync(file, `x${text}`);
  expect(readTextFile(file, 'USAGE')).toBe(`x${text}`);
});

it('takes the longest file, and no longer one', () => {
  writeFileSync(file, Buffer.alloc(TEXT_BYTES_MAX, 'a'));
  expect(readTextFile(file, 'USAGE')).toHaveLength(TEXT_BYTES_MAX);
  writeFileSync(file, Buffer.alloc(TEXT_BYTES_MAX + 1, 'a'));
  expect(thrown(() => readTextFile(file, 'CERTIFICATE_INVALID'))).toMatchObject({
    code: 'CERTIFICATE_INVALID',
    message: expect.stringContaining(`${file} has more than 16777216 bytes, expected a text file`),
  });
});

it.each([
  ['/dev/zero', 'has more than'],
  ['/dev/shm', 'EISDIR'],
  [join(folder, 'absent'), 'ENOENT'],
])('refuses %s: %s', (path, found) => {
  expect(thrown(() => readTextFile(path, 'USAGE', { hint: 'Name another.' }))).toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(found),
    hint: 'Name another.',
    details: { path },
  });
});
