import { AntipodeError, CATALOGUE, type ErrorCode, type ErrorDetails } from '@antipode/runtime';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { fromStatus, isUnreachable, toStatus } from './status.ts';

const KEY = 'antipode-error-bin';
const codes = Object.keys(CATALOGUE) as ErrorCode[];

/** What grpc-js makes of a status at the caller. */
const received = (answer: ReturnType<typeof toStatus>): ServiceError =>
  Object.assign(new Error(answer.details), answer) as ServiceError;

const failed = (code: status, sent?: unknown): ServiceError => {
  const metadata = new Metadata();
  if (sent !== undefined) metadata.set(KEY, Buffer.from(typeof sent === 'string' ? sent : JSON.stringify(sent)));
  return Object.assign(new Error('failed'), { code, details: 'failed', metadata });
};

const cross = (error: AntipodeError): AntipodeError => fromStatus(received(toStatus(error)), { peer: 'site b' });

describe('an error that crosses the wire', () => {
  it.each(codes)('keeps what it means: %s', (code) => {
    const error = new AntipodeError(code, 'what happened', {
      details: { group: 'g', epoch: 7n, count: 3, isOld: true },
    });
    const there = cross(error);
    if (code === 'INVARIANT_BROKEN') return;
    expect(there).toMatchObject({ code, message: error.message });
    expect(there.details).toEqual({ group: 'g', epoch: '7', count: 3, isOld: true, answeredBy: 'site b' });
  });

  it('keeps the hint of the place that raised it', () => {
    const error = new AntipodeError('FILE_EXISTS', 'an agent runs there', { hint: 'Stop it first.' });
    expect([cross(error).hint, cross(new AntipodeError('FILE_EXISTS', 'there')).hint]).toEqual([
      'Stop it first.',
      CATALOGUE.FILE_EXISTS.hint,
    ]);
  });

  it('leaves its cause and its stack behind', () => {
    const answer = toStatus(new AntipodeError('HSM_FULL', 'full', { cause: new Error('the cause') }));
    expect(JSON.stringify([answer.details, answer.metadata.get(KEY).map(String)])).not.toMatch(/the cause|\.ts/);
  });

  it('tells nothing of a defect, and does not stop the caller', () => {
    const answer = toStatus(new AntipodeError('INVARIANT_BROKEN', 'PIN 1234', { details: { pin: '1234' } }));
    expect([answer.details, ...answer.metadata.get(KEY).map(String)].join()).not.toContain('1234');
    const error = fromStatus(received(answer), { peer: 'site b' });
    expect(error).toMatchObject({ code: 'SITE_UNREACHABLE', disposition: 'retry', details: { peerDefect: true } });
  });

  const HUGE: ErrorDetails = Object.fromEntries(
    Array.from({ length: 20 }, (_, index) => [`d${index}`, 'x'.repeat(5_000)]),
  );

  it('is bounded where it leaves, whatever it carries', () => {
    const { details, metadata } = toStatus(new AntipodeError('HSM_REFUSED', 'x'.repeat(9_000), { details: HUGE }));
    expect(details).toHaveLength(2_000);
    expect(String(metadata.get(KEY)[0]).length).toBeLessThan(11_000);
  });

  it('is one line, whatever a peer sends', () => {
    const sent = { code: 'EPOCH_STALE', message: 'no\nfailover: done', hint: 'a\r\n  b' };
    const error = fromStatus(failed(status.ABORTED, sent), { peer: 'b' });
    expect([error.message, error.hint]).toEqual(['[EPOCH_STALE] no failover: done', 'a b']);
  });

  it('is bounded where it arrives, whatever a peer sends', () => {
    const sent = { code: 'HSM_REFUSED', message: 'x'.repeat(9_000), details: HUGE };
    const error = fromStatus(failed(status.FAILED_PRECONDITION, sent), { peer: 'b' });
    expect(error.message.length).toBeLessThan(2_100);
    expect(Object.values(error.details).join('').length).toBeLessThan(8_100);
  });

  it.each([
    ['retry', status.UNAVAILABLE],
    ['stand-down', status.ABORTED],
    ['operator', status.FAILED_PRECONDITION],
    ['defect', status.INTERNAL],
  ] as const)('has the status of its disposition: %s', (disposition, expected) => {
    for (const code of codes.filter((one) => CATALOGUE[one].disposition === disposition))
      expect(toStatus(new AntipodeError(code, 'x')).code).toBe(expected);
  });
});

describe('the id of a call', () => {
  const [OWN, OTHER] = ['0123456789abcdef', 'fedcba9876543210'];
  const error = new AntipodeError('NOT_FOUND', 'no such group', { details: { callId: OTHER } });
  const idIn = (answer: ServiceError, callId?: string) => fromStatus(answer, { peer: 'b', callId }).details['callId'];

  it('is in the error if the server says that its log has it', () => {
    expect(idIn(received(toStatus(error, OWN)), OWN)).toBe(OWN);
    const defect = new AntipodeError('INVARIANT_BROKEN', 'x');
    expect(idIn(received(toStatus(defect, OWN)), OWN)).toBe(OWN);
  });

  it.each([undefined, OTHER, OWN.toUpperCase(), `${OWN}${OWN}`, 'x'.repeat(5_000)])(
    'is never one that a peer has chosen: %s',
    (sent) => {
      expect(idIn(received(toStatus(error, sent)), OWN)).toBeUndefined();
      expect(idIn(received(toStatus(error, sent)))).toBeUndefined();
    },
  );

  it('is in the error of a call that left and got no answer, and in no other', () => {
    expect(idIn(failed(status.DEADLINE_EXCEEDED), OWN)).toBe(OWN);
    expect(idIn(failed(status.UNAVAILABLE), OWN)).toBe(OWN);
    expect(idIn(failed(status.UNAVAILABLE))).toBeUndefined();
    expect(idIn(failed(status.UNIMPLEMENTED), OWN)).toBeUndefined();
  });
});

describe('a code that a newer peer knows and we do not', () => {
  it.each([
    [status.UNAVAILABLE, 'retry'],
    [status.ABORTED, 'stand-down'],
    [status.FAILED_PRECONDITION, 'operator'],
    [status.INTERNAL, 'retry'],
  ] as const)('keeps its disposition by the status: %i', (code, disposition) => {
    const error = fromStatus(failed(code, { code: 'FROM_THE_FUTURE', message: 'm', details: { a: 1 } }), { peer: 'b' });
    expect(error.disposition).toBe(disposition);
    expect(error.details).toEqual({ a: 1, answeredBy: 'b', peerCode: 'FROM_THE_FUTURE' });
  });

  it('is not a code only because every object has a member of that name', () => {
    const error = fromStatus(failed(status.ABORTED, { code: 'constructor', message: 'm' }), { peer: 'b' });
    expect(error).toMatchObject({ code: 'ROLE_REFUSED', details: { peerCode: 'constructor' } });
  });
});

describe('a call that failed without an error of ours', () => {
  it.each<[status, ErrorCode]>([
    [status.UNAVAILABLE, 'SITE_UNREACHABLE'],
    [status.CANCELLED, 'SITE_UNREACHABLE'],
    [status.INTERNAL, 'SITE_UNREACHABLE'],
    [status.UNKNOWN, 'SITE_UNREACHABLE'],
    [status.DEADLINE_EXCEEDED, 'TIMED_OUT'],
    [status.UNIMPLEMENTED, 'REQUEST_INVALID'],
    [status.RESOURCE_EXHAUSTED, 'REQUEST_INVALID'],
    [status.INVALID_ARGUMENT, 'REQUEST_INVALID'],
  ])('with status %i is a %s, and names peer and status', (code, expected) => {
    const error = fromStatus(failed(code), { peer: 'site b' });
    expect(error).toMatchObject({ code: expected, details: { peer: 'site b', grpcStatus: status[code] } });
  });

  it('says why no connection came about, where that is known, and only then', () => {
    const connection = new AntipodeError('CERTIFICATE_INVALID', 'expired', { details: { path: 'a.pem' } });
    expect(fromStatus(failed(status.UNAVAILABLE), { peer: 'b', connection })).toMatchObject({
      code: 'CERTIFICATE_INVALID',
      message: '[CERTIFICATE_INVALID] b: expired',
      details: { path: 'a.pem', peer: 'b', connection: true },
    });
    expect(fromStatus(failed(status.DEADLINE_EXCEEDED), { peer: 'b', connection }).code).toBe('TIMED_OUT');
  });

  it.each<[string, string]>([
    ['No connection established. Last error: AntipodeError: [PEER_REFUSED] another site', 'PEER_REFUSED'],
    ['No connection established. Last error: certificate has expired', 'PEER_REFUSED'],
    ['No connection established. Last error: connect ECONNREFUSED 127.0.0.1:7', 'SITE_UNREACHABLE'],
  ])('goes by the reason of an earlier attempt only where it is quoted: %s', (details, code) => {
    const earlier = new AntipodeError('PEER_REFUSED', 'another site', { cause: new Error('certificate has expired') });
    const error = Object.assign(failed(status.UNAVAILABLE), { details });
    expect(fromStatus(error, { peer: 'b', earlier }).code).toBe(code);
  });

  it('takes a reason whose cause says nothing for one that is not quoted', () => {
    const earlier = new AntipodeError('PEER_REFUSED', 'another site', { cause: new Error() });
    expect(fromStatus(failed(status.UNAVAILABLE), { peer: 'b', earlier }).code).toBe('SITE_UNREACHABLE');
  });

  it.each(['', 'null', '[]', '7', '{"code":7,"message":"m"}', '{"code":"HSM_FULL"}', '{"code":"HSM_FULL","message":'])(
    'takes %j for no error of ours',
    (sent) => {
      expect(fromStatus(failed(status.UNAVAILABLE, sent), { peer: 'b' }).code).toBe('SITE_UNREACHABLE');
    },
  );

  it('takes only plain details from a peer', () => {
    const details = { deep: { pin: 1 }, list: [1], nothing: null, good: 'x' };
    const error = fromStatus(failed(status.ABORTED, { code: 'EPOCH_STALE', message: 'm', details }), { peer: 'b' });
    expect(error.details).toEqual({ good: 'x', answeredBy: 'b' });
  });
});

describe('a peer is unreachable', () => {
  const connection = (code: ErrorCode) => new AntipodeError(code, 'the certificate there is of another');

  it.each<[string, AntipodeError]>([
    ['when nothing answers', fromStatus(failed(status.UNAVAILABLE), { peer: 'b' })],
    ['when nothing answers in time', fromStatus(failed(status.DEADLINE_EXCEEDED), { peer: 'b' })],
    [
      'when another certificate is there',
      fromStatus(failed(status.UNAVAILABLE), { peer: 'b', connection: connection('PEER_REFUSED') }),
    ],
    [
      'when a certificate has expired',
      fromStatus(failed(status.UNAVAILABLE), { peer: 'b', connection: connection('CERTIFICATE_INVALID') }),
    ],
  ])('%s', (_when, error) => expect(isUnreachable(error)).toBe(true));

  it.each<ErrorCode>(['PEER_REFUSED', 'CERTIFICATE_INVALID', 'SITE_UNREACHABLE', 'TIMED_OUT', 'HSM_UNAVAILABLE'])(
    'but not when it answers %s itself, whatever connection of its own that was about',
    (code) => {
      const there = cross(new AntipodeError(code, 'refused', { details: { connection: true, path: 'a.pem' } }));
      expect([there.code, there.details['connection'], there.details['path']]).toEqual([code, undefined, 'a.pem']);
      expect(isUnreachable(there)).toBe(false);
    },
  );

  it('and not when something else is thrown', () => {
    for (const thrown of [undefined, new Error('x'), new AntipodeError('PEER_REFUSED', 'x')])
      expect(isUnreachable(thrown)).toBe(false);
  });
});
