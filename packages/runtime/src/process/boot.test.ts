import { expect, it } from 'vitest';
import { readBoot } from './boot.ts';

it('a machine has one boot id, and an uptime that never goes back', () => {
  const [first, second] = [readBoot(), readBoot()];
  expect(first?.id).toMatch(/^[0-9a-f-]{36}$/);
  expect(second?.id).toBe(first?.id);
  expect(second!.uptimeMs).toBeGreaterThanOrEqual(first!.uptimeMs);
});
