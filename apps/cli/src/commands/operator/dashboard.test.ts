import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, expect, it } from 'vitest';
import { approverOf, type DashboardCommandOptions, placeOf } from './dashboard.ts';

const folder = mkdtempSync(join(tmpdir(), 'antipode-dashboard-'));
afterAll(() => rmSync(folder, { recursive: true }));
const fileWith = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
  return join(folder, name);
};
const secret = 's'.repeat(32);
const proxySecretFile = fileWith('secret', secret);
const listen = '127.0.0.1:7480';
const origin = 'https://antipode.example.org';
const place = (options: Partial<DashboardCommandOptions>) => placeOf({ port: 0, ...options });

it('a dashboard is on loopback and takes orders, unless options say otherwise', () => {
  expect(place({})).toEqual({ host: '127.0.0.1', port: 0, takesOrders: true });
  expect(place({ readOnly: true, port: 7480 })).toEqual({ host: '127.0.0.1', port: 7480, takesOrders: false });
});

it('a dashboard behind a proxy takes orders only where that is allowed', () => {
  const behind = { listen, origin: `${origin}/`, proxySecretFile };
  expect(place(behind)).toEqual({ host: '127.0.0.1', port: 7480, proxy: { origin, secret }, takesOrders: false });
  expect(place({ ...behind, allowOrders: true }).takesOrders).toBe(true);
});

it.each([
  { listen },
  { listen, origin },
  { listen, proxySecretFile },
  { listen: '7480', origin, proxySecretFile },
  { listen, origin: `${origin}/page`, proxySecretFile },
  { listen, origin, proxySecretFile: fileWith('short', 'short') },
  { listen, origin, proxySecretFile, port: 7480 },
  { origin },
  { proxySecretFile },
  { allowOrders: true },
  { readOnly: true, allowOrders: true, listen, origin, proxySecretFile },
])('refuses options that do not fit together: %o', (options) => {
  expect(thrown(() => place(options)).code).toBe('USAGE');
});

it.each([
  { approveAs: 'bob' },
  { approveKey: 'bob.pem' },
  { approvePinFile: 'pin' },
  { approveAs: 'Not a name', approveKey: 'bob.pem' },
  { approveAs: 'bob', approveKey: 'bob.pem', listen },
])('refuses to sign approvals with %o', (options) => {
  expect(thrown(() => approverOf({ port: 0, ...options })).code).toBe('USAGE');
});

it('signs nothing unless a key is named', () => {
  expect(approverOf({ port: 0 })).toBeUndefined();
  expect(approverOf({ port: 0, approveAs: 'bob', approveKey: 'bob.pem' })?.name).toBe('bob');
});
