import { thrown } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { checkHooks } from './check-hooks.ts';

const dns = (program: string) => ({
  roleChange: [{ name: 'dns', timeoutSeconds: 10, command: [program] as [string] }],
  veto: [],
});

it('hooks are named where they can run', () => {
  expect(checkHooks(dns('/bin/sh'))).toBe('dns');
});

it.each(['/nowhere/move', '/etc/passwd'])('a hook is found whose program %s cannot run', (program) => {
  expect(thrown(() => checkHooks(dns(program))).message).toContain(`hook dns: this user cannot run ${program}`);
});

it('a secret that is missing shows, too', () => {
  const web = { name: 'desk', timeoutSeconds: 10, url: 'https://desk.example/', secretFile: '/nowhere/secret' };
  expect(thrown(() => checkHooks({ roleChange: [web], veto: [] })).code).toBe('CONFIG_INVALID');
});
