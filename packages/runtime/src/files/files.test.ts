import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { thrown } from '../testing/index.ts';
import { makeFile, stagingOf, writeFileDurably } from './files.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-files-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

it('replaces a file as a whole, for its owner only, and leaves nothing beside it', () => {
  const path = join(folder, 'deep', 'record.json');
  writeFileDurably(path, 'a much longer first record');
  writeFileDurably(path, Buffer.from('second'));
  expect(readFileSync(path, 'utf8')).toBe('second');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(folder, 'deep'))).toEqual(['record.json']);
});

it('gives the file the mode that is asked for', () => {
  const path = join(folder, 'certificate.pem');
  writeFileDurably(path, 'public', { mode: 0o644 });
  expect(statSync(path).mode & 0o777).toBe(0o644);
});

it('throws FILE_UNWRITABLE where the path cannot be written, and leaves what was there', () => {
  const file = join(folder, 'file');
  writeFileSync(file, 'kept');
  const path = join(file, 'below');
  expect(thrown(() => writeFileDurably(path, 'x'))).toMatchObject({ code: 'FILE_UNWRITABLE', details: { path } });
  const inner = join(folder, 'inner');
  mkdirSync(inner);
  expect(thrown(() => writeFileDurably(inner, 'x')).code).toBe('FILE_UNWRITABLE');
  expect(readFileSync(file, 'utf8')).toBe('kept');
});

describe('a link that another user has put into the folder', () => {
  it('is not followed where a file is written first', () => {
    const [path, victim] = [join(folder, 'agent.yaml'), join(folder, 'victim')];
    writeFileSync(victim, 'kept', { mode: 0o600 });
    symlinkSync(victim, stagingOf(path));
    writeFileDurably(path, 'new', { mode: 0o644 });
    expect([readFileSync(victim, 'utf8'), statSync(victim).mode & 0o777]).toEqual(['kept', 0o600]);
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(lstatSync(path).isFile()).toBe(true);
  });

  it('is not followed where it leads nowhere', () => {
    const [path, victim] = [join(folder, 'journal.db'), join(folder, 'victim')];
    symlinkSync(victim, path);
    expect(thrown(() => makeFile(path)).code).toBe('FILE_UNWRITABLE');
    expect(existsSync(victim)).toBe(false);
  });
});

describe.runIf(process.getuid?.() === 0)('what root writes', () => {
  const AGENT = 4321;
  const ownerOf = (path: string) => {
    const { uid, gid, mode } = statSync(path);
    return [uid, gid, (mode & 0o777).toString(8)];
  };

  it('keeps the owner and the mode of a file that is replaced', () => {
    const path = join(folder, 'pins.yaml');
    writeFileSync(path, 'before');
    chownSync(path, AGENT, AGENT + 1);
    chmodSync(path, 0o640);
    writeFileDurably(path, 'after');
    expect([readFileSync(path, 'utf8'), ownerOf(path)]).toEqual(['after', [AGENT, AGENT + 1, '640']]);
  });

  it('belongs to the owner of the folder that it is made in, with the folders on the way', () => {
    chownSync(folder, AGENT, AGENT);
    writeFileDurably(join(folder, 'data', 'login', 'record.json'), 'new');
    makeFile(join(folder, 'data', 'journal.db'));
    for (const [path, mode] of [
      ['data', '700'],
      ['data/login', '700'],
      ['data/login/record.json', '600'],
      ['data/journal.db', '600'],
    ] as const)
      expect([path, ...ownerOf(join(folder, path))]).toEqual([path, AGENT, AGENT, mode]);
  });
});
