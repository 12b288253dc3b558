import { expect, it } from 'vitest';
import { isAddress, parseAddress } from './address.ts';

it.each([
  ['localhost:7400', 'localhost', 7400],
  ['192.0.2.1:0', '192.0.2.1', 0],
  ['[::1]:0', '::1', 0],
  ['[2001:db8::192.0.2.1]:65535', '2001:db8::192.0.2.1', 65_535],
])('%s is an address', (text, host, port) => {
  expect(parseAddress(text)).toEqual({ host, port });
});

it.each(['localhost', 'localhost:', ':1', '::1:80', '[::1]', '[::1:80', 'a b:1', 'a:65536', 'a:1:2', '[a]b:1', ''])(
  '"%s" is none',
  (text) => {
    expect(isAddress(text)).toBe(false);
  },
);
