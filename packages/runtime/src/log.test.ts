import { fstatSync } from 'node:fs';
import { expect, it } from 'vitest';
import { AntipodeError } from './errors.ts';
import { isJournal, Log, type LogOptions } from './log.ts';
import { printableLines } from './printable.ts';
import { Secret } from './secret.ts';
import { FakeClock } from './testing/index.ts';

function logTo(options: Partial<LogOptions> = {}): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  return { log: new Log({ level: 'info', format: 'json', clock: new FakeClock(), write, ...options }), lines };
}

it('writes one JSON object a line, with its own fields and those it was made with', () => {
  const { log, lines } = logTo({ fields: { site: 'a' } });
  log.with({ group: 'payments' }).info('captured', { epoch: 3n, digest: Uint8Array.of(0xab, 0x01) });
  expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
    {
      time: '2026-01-01T00:00:00.000Z',
      level: 'info',
      message: 'captured',
      site: 'a',
      group: 'payments',
      epoch: '3',
      digest: 'ab01',
    },
  ]);
});

it('keeps an error on one line, with code, details, hint and the chain of causes', () => {
  const { log, lines } = logTo();
  const cause = new AntipodeError('HSM_REFUSED', 'inner', { details: { epoch: 1n }, cause: new Error('two\nlines') });
  log.error('failed', { error: new AntipodeError('BLOB_INVALID', 'outer', { details: { objectId: 'ab' }, cause }) });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toContain('\n');
  expect(JSON.parse(lines[0]!)).toMatchObject({
    error: {
      code: 'BLOB_INVALID',
      details: { objectId: 'ab' },
      hint: expect.any(String),
      cause: { code: 'HSM_REFUSED', details: { epoch: '1' }, cause: { message: 'two\nlines' } },
    },
  });
});

it.each(['json', 'text'] as const)('prints no secret as %s, however deep it lies', (format) => {
  const { log, lines } = logTo({ format });
  log.info('login', { pin: new Secret(Buffer.from('12345678')), deep: { pin: new Secret(Buffer.from('12345678')) } });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toMatch(/12345678|49,50|3132/);
});

it('writes nothing below its level', () => {
  const { log, lines } = logTo({ level: 'warn' });
  log.debug('a');
  log.info('b');
  log.warn('c');
  log.error('d');
  expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(['c', 'd']);
});

it('writes one readable line as text, whatever a value holds', () => {
  const { log, lines } = logTo({ format: 'text' });
  log.warn('refused', { site: 'a\nb', epoch: 2n, error: new AntipodeError('EPOCH_STALE', 'late') });
  expect(lines).toEqual(['00:00:00.000 warn  refused site=a\\nb epoch=2 error=[EPOCH_STALE] late']);
});

it.each(['text', 'json', 'journal'] as const)('shows no command to a terminal, and no second line, as %s', (format) => {
  const { log, lines } = logTo({ format });
  const said = 'no\u001b[2J\u009b31m\u202e\r\n12:00:00.000 info  all is well';
  log.warn(said, { site: said, error: new AntipodeError('EPOCH_STALE', said) });
  expect(lines).toEqual([printableLines(lines[0]!).replaceAll('\n', '')]);
  if (format === 'json') expect(JSON.parse(lines[0]!)).toMatchObject({ message: said, site: said });
});

it('writes a Buffer as the bytes it holds', () => {
  const { log, lines } = logTo();
  log.info('captured', { digest: Buffer.from([0xab, 1]), nested: { digest: Buffer.from([2]) } });
  expect(JSON.parse(lines[0]!)).toMatchObject({ digest: 'ab01', nested: { digest: '02' } });
});

it('leaves time and level to the journal, and keeps an entry on one line', () => {
  const { log, lines } = logTo({ format: 'journal', level: 'debug', fields: { site: 'a' } });
  log.debug('looked');
  log.info('captured', { epoch: 3n });
  log.warn('slow', { why: 'x' });
  log.error('failed', { error: new Error('two\n  lines') });
  expect(lines).toEqual([
    '<7>looked site=a',
    '<6>captured site=a epoch=3',
    '<4>slow site=a why=x',
    '<3>failed site=a error=two | lines',
  ]);
});

it('knows the journal by the device and inode that systemd names', () => {
  const { dev, ino } = fstatSync(2);
  expect(isJournal(2, `${dev}:${ino}`)).toBe(true);
  expect(isJournal(2, `${dev}:${ino + 1}`)).toBe(false);
  expect(isJournal(2, undefined)).toBe(false);
  expect(isJournal(-1, `${dev}:${ino}`)).toBe(false);
});
