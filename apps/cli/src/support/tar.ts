/** A tar archive of small files in memory: the form of POSIX.1-1988 (ustar), which every tar reads. */
import { invariant } from '@antipode/runtime';

const BLOCK = 512;
const NAME_BYTES_MAX = 100;

export interface TarFile {
  readonly name: string;
  readonly contents: Uint8Array;
}

export function tarOf(files: readonly TarFile[], { atMs, mode = 0o600 }: { atMs: number; mode?: number }): Buffer {
  const parts: Uint8Array[] = [];
  for (const { name, contents } of files) {
    parts.push(header(name, { size: contents.length, atMs, mode }), contents);
    parts.push(new Uint8Array((BLOCK - (contents.length % BLOCK)) % BLOCK));
  }
  return Buffer.concat([...parts, new Uint8Array(BLOCK * 2)]);
}

function header(name: string, { size, atMs, mode }: { size: number; atMs: number; mode: number }): Buffer {
  invariant(Buffer.byteLength(name) <= NAME_BYTES_MAX, `a name in an archive is too long: ${name}`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(Math.floor(atMs / 1_000), 136, 12);
  block.write('        ', 148, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\0' + '00', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
