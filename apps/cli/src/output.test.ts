import { PassThrough } from 'node:stream';
import { AntipodeError, printableLines } from '@antipode/runtime';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { duration, guardOutput, output, plain, printError, table, warn } from './output.ts';

const written = { stdout: '', stderr: '' };
beforeEach(() => {
  for (const stream of ['stdout', 'stderr'] as const) {
    written[stream] = '';
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    });
  }
});
afterEach(() => void vi.restoreAllMocks());

const RUN = { numRuns: 200 };

it('shows what another site chose without a command to the terminal, and gives it to a shell as it is', () => {
  const label = 'token \u001b[2J\u202e';
  const out = output({});
  out.data({}, () => label);
  out.data({}, () => label, { forShell: true });
  out.note(label);
  printError(new AntipodeError('HSM_REFUSED', `${label}\n`), { json: false });
  const shown = 'token \\u001b[2J\\u202e\n';
  expect(written.stdout).toBe(`${shown}${label}\n`);
  expect([written.stderr.split(shown).length, written.stderr.includes('\u001b')]).toEqual([3, false]);
});

describe('an answer for programs with words of another site', () => {
  const label = 'token \u001b[2J\u009b31m\u007f\u202e\r\n';

  it.each([
    ['JSON', true as const, (text: string): unknown => JSON.parse(text)],
    ['YAML', 'yaml' as const, (text: string): unknown => parse(text)],
  ])('shows no command to the terminal, and means the same in %s', (_form, json, read) => {
    output({ json }).data({ label, [label]: 1 }, () => '');
    expect(written.stdout).toBe(printableLines(written.stdout));
    expect(read(written.stdout)).toEqual({ label, [label]: 1 });
  });

  it('shows none in an error and in a warning either', () => {
    printError(new AntipodeError('HSM_REFUSED', label), { json: true });
    expect(JSON.parse(written.stderr)).toMatchObject({ error: { message: label } });
    warn(label);
    expect(written.stderr).toBe(printableLines(written.stderr));
  });

  it('is the same to a reader of YAML 1.1', () => {
    const names = { group: 'no', on: '1e3', since: '12:30:45', site: '017', date: '2026-01-01' };
    output({ json: 'yaml' }).data(names, () => '');
    expect(parse(written.stdout, { version: '1.1' })).toEqual(names);
  });
});

describe('the error of a call that failed at a server', () => {
  const called = new AntipodeError('TIMED_OUT', 'no answer', { details: { peer: 'coordinator c1', callId: 'abc' } });
  const above = new AntipodeError('TIMED_OUT', 'no answer in 5 s', { cause: called });

  it.each([called, above])('names the call and whose log has it, for people and for programs', (error) => {
    printError(error, { json: false });
    expect(written.stderr).toContain('\n  Call abc: search the log of coordinator c1 for it.\n');
    written.stderr = '';
    printError(error, { json: true });
    expect(JSON.parse(written.stderr)).toMatchObject({ error: { details: { callId: 'abc' } } });
  });

  it('has no such line if no call is known', () => {
    printError(new AntipodeError('USAGE', 'wrong', { cause: new Error('x') }), { json: false });
    expect(written.stderr).not.toContain('Call');
  });
});

describe('a table', () => {
  it('has its columns one below the other, without frames and trailing blanks', () => {
    expect(
      table(
        ['SITE', 'STATE', 'REASON'],
        [
          ['a', 'up', ''],
          ['longer-name', 'suspect', 'silent'],
        ],
      ),
    ).toBe(['SITE         STATE    REASON', 'a            up', 'longer-name  suspect  silent'].join('\n'));
  });

  it('without rows is its head', () => {
    expect(table(['SITE', 'STATE'], [])).toBe('SITE  STATE');
  });

  it('starts every cell of a column at the same place, whatever it holds', () => {
    const cell = fc.stringMatching(/^[a-z0-9][a-z0-9:.-]{0,14}$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 6 }), (rows) => {
        const [head, ...lines] = table(['ONE', 'TWO', 'THREE'], rows).split('\n');
        const starts = ['ONE', 'TWO', 'THREE'].map((name) => head!.indexOf(name));
        expect(lines.map((line) => starts.map((start) => line.slice(start).split(' ')[0]))).toEqual(rows);
      }),
      RUN,
    );
  });
});

describe('a duration', () => {
  it.each([
    [undefined, '-'],
    [0, '0 ms'],
    [999, '999 ms'],
    [1_000, '1.0 s'],
    [4_240, '4.2 s'],
    [119_900, '119.9 s'],
    [120_000, '2 min'],
    [7_140_000, '119 min'],
    [7_200_000, '2 h'],
    [172_800_000, '48 h'],
    [4_000n, '4.0 s'],
  ])('of %s is written %s', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });

  it('is within half of its last digit', () => {
    const UNITS: Readonly<Record<string, [number, number]>> = {
      ms: [1, 1],
      s: [1_000, 100],
      min: [60_000, 60_000],
      h: [3_600_000, 3_600_000],
    };
    fc.assert(
      fc.property(fc.oneof(...[1_000, 120_000, 7_200_000, 1_000_000_000].map((max) => fc.nat({ max }))), (ms) => {
        const [number, unit] = duration(ms).split(' ');
        const [unitMs, digitMs] = UNITS[unit!]!;
        expect(Math.abs(Number(number) * unitMs - ms)).toBeLessThanOrEqual(digitMs / 2);
      }),
      RUN,
    );
  });
});

describe('what a command answers', () => {
  it('is JSON for programs and text for people, and alone on standard output', () => {
    for (const [json, expected] of [
      [true, '{\n  "epoch": 2,\n  "digest": "0aff"\n}\n'],
      [undefined, 'epoch 2\n'],
    ] as const) {
      written.stdout = '';
      const out = output({ json });
      out.note('capturing');
      out.data({ $typeName: 'antipode.v1.Any', epoch: 2n, digest: new Uint8Array([10, 255]) }, () => 'epoch 2');
      expect([out.isJson, written.stdout, written.stderr.includes('capturing')]).toEqual([
        json === true,
        expected,
        true,
      ]);
    }
  });

  it('leaves out what only the wire needs', () => {
    const message = { $typeName: 'antipode.v1.Any', $unknown: [], members: [{ $typeName: 'x', site: 'a' }] };
    expect(JSON.parse(JSON.stringify(message, plain))).toEqual({ members: [{ site: 'a' }] });
  });

  // Bytes from the wire are Buffers, and those turn themselves into an object before `plain` sees them.
  it('has bytes in hexadecimal, also those that came over the wire', () => {
    expect(JSON.parse(JSON.stringify({ signature: Buffer.from([10, 255]) }, plain))).toEqual({ signature: '0aff' });
  });

  it('keeps every digit of an integer, as text where a number would lose some', () => {
    const value = {
      small: -3n,
      largest: 9_007_199_254_740_991n,
      above: 9_007_199_254_740_993n,
      list: [2n ** 64n - 1n],
    };
    expect(JSON.parse(JSON.stringify(value, plain))).toEqual({
      small: -3,
      largest: 9_007_199_254_740_991,
      above: '9007199254740993',
      list: ['18446744073709551615'],
    });
  });
});

describe('output that nobody reads any more', () => {
  const failing = (code: string): string[] => {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const failures: string[] = [];
    guardOutput({ stdout, stderr, fail: (error) => failures.push(error.code) });
    for (const stream of [stdout, stderr]) stream.emit('error', Object.assign(new Error(code), { code }));
    return failures;
  };

  it.each(['EPIPE', 'EIO'])('is dropped without a word: %s', (code) => {
    expect(failing(code)).toEqual([]);
  });

  it('fails for other faults of an answer, while an unwritable log stops nobody', () => {
    expect(failing('ENOSPC')).toEqual(['FILE_UNWRITABLE']);
  });
});
