import { expect, it } from 'vitest';
import { AntipodeError } from '../errors.ts';
import { rejection } from '../testing/index.ts';
import { DelayedService } from './delayed-service.ts';

function service() {
  const story: string[] = [];
  const inner = {
    start: async () => void story.push('started'),
    close: async () => void story.push('closed'),
  };
  return { story, make: () => inner };
}

it('makes and starts the service when it can be made, and closes it', async () => {
  const { story, make } = service();
  const { promise, resolve } = Promise.withResolvers<void>();
  const delayed = new DelayedService({ ready: () => promise, make });
  const started = delayed.start();
  expect(story).toEqual([]);
  resolve();
  await started;
  await delayed.close();
  expect(story).toEqual(['started', 'closed']);
});

it('makes nothing when it is closed before', async () => {
  const { story, make } = service();
  const delayed = new DelayedService({
    ready: (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    make,
  });
  const started = delayed.start();
  await delayed.close();
  await started;
  expect(story).toEqual([]);
});

it('fails with what it has waited for', async () => {
  const { story, make } = service();
  const ready = () => Promise.reject(new AntipodeError('CERTIFICATE_INVALID', 'no'));
  const delayed = new DelayedService({ ready, make });
  expect((await rejection(delayed.start())).code).toBe('CERTIFICATE_INVALID');
  await delayed.close();
  expect(story).toEqual([]);
});
