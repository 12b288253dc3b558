import { thrown } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { externalQueue } from './external-queue.ts';

it.each([
  ['redis://queue.example', { host: 'queue.example', port: 6379, db: 0 }],
  ['redis://queue.example:6380/3', { host: 'queue.example', port: 6380, db: 3 }],
  ['redis://:secret@queue.example', { host: 'queue.example', port: 6379, password: 'secret', db: 0 }],
  ['redis://us%40er:p%2Fw%20@queue.example', { username: 'us@er', password: 'p/w ', port: 6379, db: 0 }],
  ['redis://[::1]:6380', { host: '::1', port: 6380, db: 0 }],
])('connects as %s says', (url, options) => {
  const made = externalQueue(url);
  expect(made).toMatchObject(options);
  expect(made).not.toHaveProperty('tls');
  if (!url.includes('@')) expect([made.username, made.password]).toEqual([undefined, undefined]);
});

it('speaks TLS where the address says so, as servers of others know it, and checks whom it speaks to', () => {
  const { tls } = externalQueue('rediss://queue.example');
  expect(tls).toMatchObject({ servername: 'queue.example', minVersion: 'TLSv1.2', ecdhCurve: 'auto' });
  expect(tls?.rejectUnauthorized ?? true).toBe(true);
});

it('refuses anything but a URL, and repeats none of it', () => {
  const error = thrown(() => externalQueue('redis://:secret@ /'));
  expect([error.code, error.details]).toEqual(['CONFIG_INVALID', { field: 'redisUrl' }]);
  expect(error.message).not.toContain('secret');
});

it.each(['redis://h/abc', 'redis://h/-1', 'redis:///path.sock', 'redis://:%zz@h', 'http://h'])(
  'an address that is none, %s, is refused and not repeated',
  (address) => {
    const error = thrown(() => externalQueue(address));
    expect([error.code, error.message.includes('%zz')]).toEqual(['CONFIG_INVALID', false]);
  },
);

it('an IP address does not stand as a name in the handshake', () => {
  expect(externalQueue('rediss://[::1]:6380')).toMatchObject({ host: '::1', port: 6380 });
  expect(externalQueue('rediss://[::1]:6380').tls).not.toHaveProperty('servername');
  expect(externalQueue('rediss://queue.example').tls).toMatchObject({ servername: 'queue.example' });
});
