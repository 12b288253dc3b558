import { CATALOGUE } from '@antipode/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { main } from '../main.ts';
import { nearOf } from './explain.ts';

const written = { stdout: '', stderr: '' };
beforeEach(() => {
  for (const stream of ['stdout', 'stderr'] as const) {
    written[stream] = '';
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    });
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

describe('antipode explain', () => {
  it.each(Object.keys(CATALOGUE))('knows %s', async (code) => {
    await main(['explain', code.toLowerCase()]);
    const { summary, hint } = CATALOGUE[code as keyof typeof CATALOGUE];
    expect(written.stdout).toContain(summary);
    expect(written.stdout).toContain(hint);
    expect(process.exitCode ?? 0).toBe(0);
  });

  it('is the same for programs, in JSON and in YAML', async () => {
    await main(['explain', '[PIN_REFUSED]', '--json']);
    const asJson = JSON.parse(written.stdout) as { code: string; exitStatus: number };
    expect(asJson).toMatchObject({ code: 'PIN_REFUSED', disposition: 'operator', exitStatus: 5 });
    written.stdout = '';
    await main(['explain', 'PIN_REFUSED', '--output', 'yaml']);
    expect(written.stdout).toMatch(/^code: PIN_REFUSED$/m);
    written.stdout = '';
    await main(['explain', 'PIN_REFUSED', '--output=table']);
    expect(written.stdout).toMatch(/^PIN_REFUSED\n/);
  });

  it('of a code that there is not names the nearest ones, and ends with an error', async () => {
    await main(['explain', 'PIN_REFUSSED', '--output', 'yaml']);
    expect(process.exitCode).toBe(1);
    const { error } = JSON.parse(written.stderr) as { error: { code: string; hint: string } };
    expect(error).toMatchObject({ code: 'NOT_FOUND', hint: 'Run `antipode explain PIN_REFUSED`.' });
    expect(nearOf('SITE_DOWN')).toContain('SITE_UNREACHABLE');
    expect(nearOf('XQZJK')).toEqual([]);
  });
});
