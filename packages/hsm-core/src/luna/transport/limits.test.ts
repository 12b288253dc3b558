import { expect, it } from 'vitest';
import { clientSettingsIn } from './limits.ts';

it('takes the limits of the client, and a margin', () => {
  const { limits, isHaOnly } = clientSettingsIn(
    'Luna = {\n  DefaultTimeOut = 1000;\n  cloningcommandtimeout=2000;\n CommandTimeoutPedSet = 3000;\n}\n' +
      'LunaSA Client = {\n ReceiveTimeout = 4000;\n ServerName00 = a;\n ServerPort00 = 1792;\n ServerName01 = b;\n}\n' +
      'HAConfiguration = {\n HAOnly = 1;\n}\n',
  );
  expect([limits.commandMs, limits.cloningMs, limits.pedMs, limits.startMs]).toEqual([31_000, 32_000, 33_000, 38_000]);
  expect(isHaOnly).toBe(true);
});

it('takes the file of Windows too', () => {
  expect(clientSettingsIn('[Luna]\r\nCloningCommandTimeOut=2000\r\n').limits.cloningMs).toBe(32_000);
});

it('takes the values of the vendor where the file has no number', () => {
  for (const text of ['', 'Luna = {\n CloningCommandTimeOut = soon;\n}\n'])
    expect(clientSettingsIn(text)).toMatchObject({ isHaOnly: false, limits: { cloningMs: 330_000, pedMs: 750_000 } });
});
