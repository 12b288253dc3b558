import { expect, it } from 'vitest';
import { callMethod, METHODS, type Method, methodsBy } from './messages.ts';

const names = Object.keys(METHODS) as Method[];

it('sends every method of the contract by its name, with its arguments', async () => {
  const methods = methodsBy(async (method, args) => [method, ...args]);
  for (const name of names) expect(await callMethod(methods, name, [1n, 'a'])).toEqual([name, 1n, 'a']);
});

it('does not compile where a method of the contract is forgotten', () => {
  const { describe: _describe, ...forgotten } = METHODS;
  // @ts-expect-error: `describe` is missing
  forgotten satisfies Record<Method, string>;
  expect(Object.keys(forgotten)).toHaveLength(names.length - 1);
});
