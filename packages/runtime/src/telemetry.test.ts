import { expect, it } from 'vitest';
import { AntipodeError } from './errors.ts';
import { currentTrace, inSpan, startTelemetry } from './telemetry.ts';

it('passes result and failure of the work through a span unchanged', async () => {
  const failure = new AntipodeError('HSM_FULL', 'full');
  await expect(inSpan('work', {}, async () => 7)).resolves.toBe(7);
  await expect(
    inSpan('work', {}, async () => {
      throw failure;
    }),
  ).rejects.toBe(failure);
});

it('exports nothing and carries no trace unless an endpoint is configured', async () => {
  const telemetry = await startTelemetry({ serviceName: 'test' });
  expect(currentTrace()).toEqual({});
  await telemetry.close();
  await telemetry.close();
});
