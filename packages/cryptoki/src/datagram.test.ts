import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sendDatagram } from './datagram.ts';
import { DatagramReceiver } from './testing/datagram-receiver.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-datagram-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it.each([
  ['a path', () => join(folder, 'notify')],
  ['an abstract name', () => `@antipode-test-${process.pid}`],
])('sends each message whole to %s', (_kind, pathOf) => {
  const receiver = new DatagramReceiver(pathOf());
  try {
    expect(sendDatagram(pathOf(), 'READY=1\nSTATUS=läuft')).toBe(true);
    expect(sendDatagram(pathOf(), 'WATCHDOG=1')).toBe(true);
    expect(receiver.readAll()).toEqual(['READY=1\nSTATUS=läuft', 'WATCHDOG=1']);
  } finally {
    receiver.close();
  }
});

it('does not wait for a listener that is full, and says that the message is lost', () => {
  const path = join(folder, 'notify');
  const receiver = new DatagramReceiver(path);
  try {
    let sent = 0;
    while (sent < 10_000 && sendDatagram(path, 'WATCHDOG=1')) sent += 1;
    expect(sent).toBeLessThan(10_000);
    expect(receiver.readAll()).toHaveLength(sent);
  } finally {
    receiver.close();
  }
});

it.each([
  ['nobody listens', () => join(folder, 'nothing')],
  ['a path is longer than an address', () => `/${'x'.repeat(200)}`],
  ['there is no path', () => ''],
])('says that the message is lost where %s', (_why, pathOf) => {
  expect(sendDatagram(pathOf(), 'READY=1')).toBe(false);
});
