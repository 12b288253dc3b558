import { describe, expect, it } from 'vitest';
import { Log } from '../log.ts';
import { FakeClock } from '../testing/index.ts';
import { LoopWatch } from '../time/loop-watch.ts';
import { runUntilStopped, type Service } from './lifecycle.ts';
import { Supervisor } from './supervisor.ts';

const SOCKET = '/run/systemd/notify';
const service = (parts: Partial<Service> = {}): Service => ({
  start: async () => {},
  close: async () => {},
  status: () => 'leads',
  ...parts,
});

function supervised({ watchdogMs, isHeard = true }: { watchdogMs?: number; isHeard?: boolean } = {}) {
  const clock = new FakeClock();
  const watch = new LoopWatch({ clock, passMsMax: 60_000 });
  const messages: string[] = [];
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', clock, write: (line) => lines.push(line) });
  const send = (socket: string, message: string): boolean => {
    messages.push(`${socket}: ${message}`);
    return isHeard;
  };
  const supervisor = new Supervisor({ socket: SOCKET, watchdogMs, send, clock, log, watch });
  return {
    clock,
    watch,
    messages,
    lines,
    supervisor,
    told: () => messages.splice(0).map((one) => one.split(': ').slice(1).join(': ')),
    log,
  };
}

describe('the environment of a service', () => {
  const take = (environment: NodeJS.ProcessEnv, hasSend = true) => {
    const { clock, watch, log, messages } = supervised();
    const send = (socket: string, message: string): boolean => {
      messages.push(`${socket}: ${message}`);
      return true;
    };
    return {
      taken: Supervisor.take(environment, { send: hasSend ? send : undefined, clock, log, watch }),
      clock,
      messages,
    };
  };

  it('is kept from children, which must not speak for it', () => {
    const environment = { NOTIFY_SOCKET: SOCKET, WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1', PATH: '/bin' };
    expect(take(environment).taken).toBeDefined();
    expect(environment).toEqual({ PATH: '/bin' });
  });

  it('names a watchdog, which hears three signs of life in its interval', async () => {
    const environment = { NOTIFY_SOCKET: SOCKET, WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) };
    const { taken, clock, messages } = take(environment);
    taken?.serving(service());
    await clock.advance(30_000);
    expect(messages.filter((one) => one.includes('WATCHDOG=1'))).toHaveLength(4);
    taken?.stopping();
  });

  it.each([
    ['without a manager', { WATCHDOG_USEC: '30000000' }, true],
    ['without a way to send', { NOTIFY_SOCKET: SOCKET }, false],
  ])('makes nothing %s', (_which, environment, hasSend) => {
    expect(take(environment, hasSend).taken).toBeUndefined();
  });
});

it('says that it is ready when everything has been tried, and not before', async () => {
  const { clock, told, supervisor } = supervised({ watchdogMs: 30_000 });
  const { promise, resolve } = Promise.withResolvers<void>();
  supervisor.serving(service({ settled: () => promise }));
  await clock.advance(5_000);
  expect(told()).toEqual([]);
  resolve();
  await clock.advance(0);
  expect(told()).toEqual(['READY=1\nSTATUS=leads', 'WATCHDOG=1\nSTATUS=leads']);
  supervisor.stopping();
});

it('is ready after 20 s, even if a device does not answer or the attempt fails', async () => {
  const { clock, told, supervisor } = supervised();
  supervisor.serving(service({ settled: () => new Promise(() => {}) }));
  await clock.advance(19_999);
  expect(told()).toEqual([]);
  await clock.advance(1);
  expect(told()[0]).toContain('READY=1');
  supervisor.stopping();
  const other = supervised();
  other.supervisor.serving(service({ settled: () => Promise.reject(new Error('no device')) }));
  await other.clock.advance(0);
  expect(other.told()[0]).toContain('READY=1');
  other.supervisor.stopping();
});

it('leaves the watchdog untold while a loop is stuck, and says which', async () => {
  const { clock, watch, told, lines, supervisor } = supervised({ watchdogMs: 30_000 });
  supervisor.serving(service());
  watch.began('heartbeat');
  await clock.advance(60_000);
  expect(told().at(-1)).toContain('WATCHDOG=1');
  await clock.advance(30_000);
  expect(told()).toEqual(['STATUS=stuck: heartbeat', 'STATUS=stuck: heartbeat', 'STATUS=stuck: heartbeat']);
  expect(lines.filter((line) => line.includes('stuck'))).toHaveLength(1);
  watch.ended('heartbeat', 0);
  await clock.advance(10_000);
  expect(told()).toEqual(['WATCHDOG=1\nSTATUS=leads']);
  supervisor.stopping();
});

it('asks for more time while the start waits for something outside, and only then', async () => {
  const { clock, told, supervisor } = supervised({ watchdogMs: 30_000 });
  supervisor.waiting(new Error('the certificate begins\n in 40 s'));
  await clock.advance(20_000);
  expect(told()).toEqual(Array(3).fill('EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting: the certificate begins in 40 s'));
  supervisor.waiting(undefined);
  await clock.advance(60_000);
  expect(told()).toEqual([]);
});

it('says once that it stops, and nothing after that', async () => {
  const { clock, told, supervisor } = supervised({ watchdogMs: 30_000 });
  supervisor.serving(service());
  await clock.advance(0);
  told();
  supervisor.stopping();
  supervisor.stopping();
  supervisor.waiting(new Error('late'));
  await clock.advance(60_000);
  expect(told()).toEqual(['STOPPING=1\nSTATUS=stopping']);
});

it('logs that nobody listens where readiness is waited for', async () => {
  const { clock, lines, supervisor } = supervised({ isHeard: false });
  supervisor.serving(service());
  await clock.advance(0);
  expect(lines.join()).toContain('cannot be told');
  supervisor.stopping();
});

it('follows the life of a service: ready after its start, stopping after the signal', async () => {
  const { clock, told, supervisor, log } = supervised();
  const started = Promise.withResolvers<void>();
  const running = runUntilStopped(service({ start: () => started.promise }), { log, clock, supervisor });
  await clock.advance(5_000);
  expect(told()).toEqual([]);
  started.resolve();
  await clock.advance(0);
  expect(told()[0]).toBe('READY=1\nSTATUS=leads');
  process.emit('SIGTERM', 'SIGTERM');
  await running;
  expect(told().at(-1)).toBe('STOPPING=1\nSTATUS=stopping');
});
