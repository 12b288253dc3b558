import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@antipode/runtime';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CaptureStamps } from './capture-stamps.ts';
import { ObjectStore } from './object-store.ts';

let path: string;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'antipode-stamps-'));
});
afterEach(() => rmSync(path, { recursive: true, force: true }));

it.each(['', 'no JSON', 'null', '[1]', '{"payments":null}', '{"payments":{"epoch":"x","generation":"1"}}'])(
  'counts a record that it cannot read as none: %s',
  (text) => {
    const folder = { path, fileMode: 0o600, uid: process.getuid!(), gid: process.getgid!() };
    const store = new ObjectStore({ folder, clock: systemClock });
    writeFileSync(join(path, 'store-1.json'), text);
    const stamps = new CaptureStamps({ folder, store, serial: '1', stateFolder: path });
    expect(stamps.older()).toEqual([]);
    expect(stamps.put({ group: 'payments', epoch: 1n, number: 1n, replacesOlder: false })).toBe(true);
    expect(stamps.older()).toEqual([]);
  },
);
