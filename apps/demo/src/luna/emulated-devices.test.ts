import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { protectionsOf } from './applications.ts';
import { EmulatedDevices } from './emulated-devices.ts';

it('points to the sources where the emulator is not installed', () => {
  const make = () =>
    new EmulatedDevices({
      folder: '/nowhere/luna',
      partitions: [],
      vault: { serial: '1', label: 'vault', password: '' },
      emulator: '/nowhere/lunacm/',
    });
  const refused = thrown(make);
  expect(refused.code).toBe('PROGRAM_MISSING');
  expect(refused.hint).toContain('npm run demo -- --luna');
});

describe('the protections of keys', () => {
  const listed = [
    'Private Key Object; RSA ',
    '  label:      rsa',
    '  ID:         01',
    '  Usage:      decrypt, sign',
    '  Access:     sensitive, always sensitive, never extractable, local',
    'Public Key Object; RSA 2048 bits',
    '  label:      rsa',
    '  Access:     local',
    'Secret Key Object; AES length 32',
    '  label:      of the agent',
    '  Access:     sensitive',
    '',
  ].join('\n');
  const made = [{ kind: 'private-key/rsa', id: '01', label: 'rsa', contentSha256: '' }];

  it('are those of private and secret keys that programs have made', () => {
    expect(protectionsOf(listed, made)).toEqual(['rsa: sensitive, always sensitive, never extractable, local']);
  });

  it('differ where a key can be extracted', () => {
    const other = listed.replace('never extractable, ', 'extractable, ');
    expect(protectionsOf(other, made)).not.toEqual(protectionsOf(listed, made));
  });
});
