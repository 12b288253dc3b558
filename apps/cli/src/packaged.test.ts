import { AntipodeError } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { commandAt, withHintOfPackage } from './packaged.ts';

const missing = (path: string) =>
  new AntipodeError('CONFIG_INVALID', `cannot read ${path}: ENOENT`, {
    details: { path },
    cause: Object.assign(new Error(), { code: 'ENOENT' }),
    hint: 'own',
  });

it('names the command of the package in its folder, and the plain one elsewhere', () => {
  expect(commandAt('/var/lib/antipode/site/agent.yaml')).toBe('antipode-site');
  expect(commandAt('agent.yaml')).toBe('antipode');
  expect(commandAt('/srv/site-a/agent.yaml')).toBe('antipode');
});

it('tells somebody in a shell of a packaged site which command finds the configuration', () => {
  const told = withHintOfPackage(missing('agent.yaml'), { exists: () => true });
  expect([told.code, told.message, told.hint]).toEqual([
    'CONFIG_INVALID',
    '[CONFIG_INVALID] cannot read agent.yaml: ENOENT',
    expect.stringContaining('antipode-site'),
  ]);
});

it.each([
  ['the package is not installed', missing('agent.yaml'), false],
  ['the file was named', missing('/srv/agent.yaml'), true],
  ['another fault was found', new AntipodeError('CONFIG_INVALID', 'x', { details: { path: 'agent.yaml' } }), true],
])('leaves an error alone where %s', (_, error, isInstalled) => {
  expect(withHintOfPackage(error, { exists: () => isInstalled })).toBe(error);
});
