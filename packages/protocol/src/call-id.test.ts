import { Log, type LogLevel } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { asCallId, CallLines, newCallId } from './call-id.ts';

const ID = '0123456789abcdef';

it('makes ids of the form that servers take, each another one', () => {
  const [one, other] = [newCallId(), newCallId()];
  expect([asCallId(one), asCallId(other), one === other]).toEqual([one, other, false]);
});

it.each([
  undefined,
  '',
  ID.slice(1),
  `${ID}0`,
  ID.toUpperCase(),
  `${ID.slice(1)}\n`,
  '\u001b[2J0123456789ab',
  'x'.repeat(100_000),
  Buffer.from(ID),
  [ID],
])('takes nothing else for an id: %j', (sent) => {
  expect(asCallId(sent)).toBeUndefined();
});

function lines(level: LogLevel = 'info') {
  const written: string[] = [];
  const clock = new FakeClock();
  const log = new Log({ level, format: 'json', clock, write: (line) => written.push(line) });
  return { written, clock, lines: new CallLines({ log, clock }) };
}

it('writes a call with an id where operators look, and one without as before', () => {
  const { written, lines: sut } = lines();
  expect(sut.write({ id: ID, peer: 'p' }, 'call failed', {})).toBe(ID);
  expect(sut.write({ id: undefined, peer: 'p' }, 'call failed', {})).toBeUndefined();
  expect(written.map((line) => JSON.parse(line))).toEqual([
    expect.objectContaining({ level: 'info', message: 'call failed', call: ID, peer: 'p' }),
  ]);
});

it('names no id whose line the log leaves out', () => {
  const { written, lines: sut } = lines('warn');
  expect(sut.write({ id: ID, peer: 'p' }, 'call failed', {})).toBeUndefined();
  expect(sut.write({ id: ID, peer: 'p', level: 'warn' }, 'call failed', {})).toBe(ID);
  expect(written).toHaveLength(1);
});

it('holds a peer that floods the log to a number of lines a minute, and no other peer', async () => {
  const { written, clock, lines: sut } = lines();
  const flood = (peer: string) =>
    Array.from({ length: 500 }, () => sut.write({ id: ID, peer }, 'call failed', {})).filter((id) => id === ID).length;
  expect([flood('p'), flood('q'), written.length]).toEqual([60, 60, 120]);
  await clock.advance(60_000);
  expect(flood('p')).toBe(60);
});

it('remembers a bounded number of peers', () => {
  const { lines: sut } = lines();
  const told = Array.from({ length: 10_000 }, (_, at) => sut.write({ id: ID, peer: `p${at}` }, 'call failed', {}));
  expect(told.every((id) => id === ID)).toBe(true);
});
