import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetOperationResponseSchema, type Operation, OperationSchema } from '@antipode/protocol';
import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { errorOf, follow, operatorConfigFile, withOperator } from './operator-connection.ts';
import type { Output } from './output.ts';

type Answer = Partial<Pick<Operation, 'phase' | 'status' | 'errorCode' | 'errorMessage' | 'attempts'>>;

/** Follows an operation through these answers, one a call. */
function following(answers: readonly (Answer | ErrorCode | undefined)[], timeoutMs = 60_000) {
  const notes: string[] = [];
  const asked: object[] = [];
  const output: Output = { isJson: false, data: () => {}, line: () => {}, note: (text) => notes.push(text.trim()) };
  const operator: Parameters<typeof follow>[0] = {
    getOperation: async (request) => {
      asked.push(request);
      const answer = answers[asked.length - 1];
      if (typeof answer === 'string') throw new AntipodeError(answer, 'no');
      return create(
        GetOperationResponseSchema,
        answer === undefined
          ? {}
          : { operation: create(OperationSchema, { id: 'i', kind: 'drill', status: 'open', ...answer }) },
      );
    },
  };
  return { notes, asked, end: follow(operator, 'i', { output, timeoutMs }) };
}

describe('an operation that is followed', () => {
  it.each(['SITE_UNREACHABLE', 'TIMED_OUT'] as const)('is asked for again where a call ends in %s', async (code) => {
    const { asked, end } = following([{ phase: 'restoring' }, code, { phase: 'passed', status: 'done' }]);
    expect((await end).phase).toBe('passed');
    expect(asked).toHaveLength(3);
  });

  it('is given up at once where the coordinator says why', async () => {
    const { asked, end } = following([{ phase: 'restoring' }, 'PEER_REFUSED']);
    expect((await rejection(end)).code).toBe('PEER_REFUSED');
    expect(asked).toHaveLength(2);
  });

  it('is reported phase by phase, each once, to its end', async () => {
    const { notes, asked, end } = following([
      { phase: 'planned' },
      { phase: 'restoring' },
      { phase: 'restoring' },
      { phase: 'passed', status: 'done' },
    ]);
    expect((await end).phase).toBe('passed');
    expect(notes).toEqual(['drill: planned', 'drill: restoring', 'drill: passed']);
    expect(asked.map((request) => 'seenPhase' in request && request.seenPhase)).toEqual([
      '',
      'planned',
      'restoring',
      'restoring',
    ]);
  });

  it('tells why it is tried again, once for each reason', async () => {
    const away = { phase: 'restoring', errorCode: 'SITE_UNREACHABLE', errorMessage: 'c is away' };
    const { notes, end } = following([
      { ...away, attempts: 1 },
      { ...away, attempts: 2 },
      { phase: 'passed', status: 'done' },
    ]);
    await end;
    expect(notes.filter((note) => note.includes('c is away'))).toHaveLength(1);
  });

  it.each(['failed', 'parked'])('that is %s ends with its own error', async (status) => {
    const failure = { phase: 'failed', status, errorCode: 'OBJECT_UNPROVEN', errorMessage: '[OBJECT_UNPROVEN] key 0b' };
    const error = await rejection(following([failure]).end);
    expect([error.code, error.message, error.details['operation']]).toEqual([
      'OBJECT_UNPROVEN',
      '[OBJECT_UNPROVEN] key 0b',
      'i',
    ]);
  });

  it('is left alone when the time is over: its outcome is unknown', async () => {
    expect((await rejection(following([{ phase: 'restoring' }], 0).end)).code).toBe('TIMED_OUT');
  });

  it.each([9_999.5, 0.25, 300_000])('is asked for in whole milliseconds, even with %d ms left', async (timeoutMs) => {
    const { asked, end } = following([{ phase: 'restoring' }, { phase: 'passed', status: 'done' }], timeoutMs);
    await end.catch(() => {});
    for (const request of asked) {
      const { waitMs } = request as { waitMs: number };
      expect([waitMs, Number.isInteger(waitMs), waitMs >= 1 && waitMs <= 10_000]).toEqual([waitMs, true, true]);
    }
  });

  it('that does not exist is not waited for', async () => {
    expect((await rejection(following([undefined]).end)).code).toBe('NOT_FOUND');
  });

  it('is reported as cancelled if a person ended it, whatever failed before', async () => {
    const { end } = following([{ phase: 'catching-up', status: 'cancelled', errorCode: 'HSM_UNAVAILABLE' }]);
    const error = await rejection(end);
    expect([error.code, error.message]).toEqual(['OPERATION_CANCELLED', expect.stringContaining('catching-up')]);
  });

  it('that failed has the hint of the coordinator, which knows more than the catalogue', () => {
    const operation = create(OperationSchema, { id: 'i', kind: 'failover', errorCode: 'FAILOVER_REFUSED' });
    const catalogue = errorOf(operation).hint;
    expect(catalogue).not.toBe('');
    expect(errorOf({ ...operation, hint: 'more time' }).hint).toBe('more time');
  });

  it('that ended with a code of another version is unknown, and says how it ended', () => {
    const operation = create(OperationSchema, {
      id: 'i',
      kind: 'drill',
      phase: 'failed',
      errorCode: 'FROM_THE_FUTURE',
    });
    expect(errorOf(operation).code).toBe('TIMED_OUT');
    expect(errorOf(operation).message).toContain('failed');
  });
});

describe('the configuration of an operator', () => {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-operator-'));
  const before = process.cwd();
  const [here, home] = [join(folder, 'here'), join(folder, 'home')];
  for (const one of [here, join(home, '.config/antipode')]) mkdirSync(one, { recursive: true });
  afterEach(() => {
    vi.unstubAllEnvs();
    process.chdir(before);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is the file given, the one in the environment, the one here, the one at home, in this order', () => {
    process.chdir(here);
    vi.stubEnv('HOME', home);
    vi.stubEnv('ANTIPODE_CONFIG', undefined);
    expect(thrown(() => operatorConfigFile(undefined)).code).toBe('CONFIG_INVALID');
    const atHome = join(home, '.config/antipode/operator.yaml');
    writeFileSync(atHome, '');
    expect(operatorConfigFile(undefined)).toBe(atHome);
    writeFileSync(join(here, 'operator.yaml'), '');
    expect(operatorConfigFile(undefined)).toBe('operator.yaml');
    vi.stubEnv('ANTIPODE_CONFIG', 'elsewhere.yaml');
    expect(operatorConfigFile(undefined)).toBe('elsewhere.yaml');
    expect(operatorConfigFile('given.yaml')).toBe('given.yaml');
  });

  it('is checked before anything is connected', async () => {
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, 'coordinator: { id: main, address: nowhere }\ntls: { ca: a, certificate: b, key: c }\n');
    const work = vi.fn();
    const error = await rejection(withOperator(file, work));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(`${file}:1:35: coordinator.address: `);
    expect(work).not.toHaveBeenCalled();
  });

  it('whose certificate is missing is refused', async () => {
    const file = join(folder, 'bare.yaml');
    writeFileSync(file, 'coordinator: { id: main, address: "a:1" }\ntls: { ca: a, certificate: b, key: c }\n');
    expect((await rejection(withOperator(file, async () => {}))).code).toBe('CERTIFICATE_INVALID');
  });
});
