import { thrown } from '@antipode/runtime/testing';
import { InvalidArgumentError } from 'commander';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collect, count, days, deadlineSeconds, parseCoordinator, percent, seatFrom, seconds } from './options.ts';

const RUN = { numRuns: 200 };
const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/);
const refused = (work: () => unknown): [string, unknown] => {
  const { code, details } = thrown(work);
  return [code, details['field']];
};

describe('a seat', () => {
  it('is a site and a serial number', () => {
    fc.assert(
      fc.property(name, fc.stringMatching(/^[0-9a-f]{1,16}$/), (site, serial) => {
        expect(seatFrom(`${site}=${serial}`)).toEqual({ site, serial });
      }),
      RUN,
    );
  });

  it.each(['', 'a', '=', 'a=', '=1f', 'a=1f=2', 'a:1f'])('is not "%s"', (text) => {
    expect(refused(() => seatFrom(text))).toEqual(['USAGE', 'member']);
  });
});

describe('a coordinator', () => {
  it('is an id and an address', () => {
    fc.assert(
      fc.property(
        name,
        fc.constantFrom('10.0.0.5', 'dr.example.org', 'localhost'),
        fc.nat(65_535),
        (id, host, port) => {
          expect(parseCoordinator(`${id}@${host}:${port}`)).toEqual({ id, address: `${host}:${port}` });
        },
      ),
      RUN,
    );
  });

  it.each([
    '',
    'main',
    'main@host',
    'main@:7400',
    '@host:7400',
    'Main@host:7400',
    'main@host:port',
    'main@a:1:2',
    'main@ho st:1',
  ])('is not "%s"', (text) => {
    expect(refused(() => parseCoordinator(text))).toEqual(['USAGE', 'coordinator']);
  });
});

describe('a number of seconds', () => {
  it.each([
    ['300', 300],
    ['0.5', 0.5],
  ])('may be %s', (text, value) => {
    expect(seconds(text)).toBe(value);
  });

  it.each(['', ' ', '0', '-1', 'soon', '5m', 'Infinity', 'NaN'])('must not be "%s"', (text) => {
    expect(() => seconds(text)).toThrow(InvalidArgumentError);
  });
});

describe('a count, a number of days, a deadline and a percentage', () => {
  it.each([
    [count, '5', 5],
    [days, '0.5', 0.5],
    [deadlineSeconds, '0.001', 0.001],
    [percent, '100', 100],
  ] as const)('%o takes %s', (parse, text, value) => {
    expect(parse(text)).toBe(value);
  });

  it.each([
    [count, '1.5'],
    [count, '0'],
    [days, '0'],
    [days, '1e300'],
    [days, '1e-9'],
    [deadlineSeconds, '0.0004'],
    [deadlineSeconds, '1e300'],
    [deadlineSeconds, '-1'],
    [days, 'soon'],
    [percent, '0'],
    [percent, '9.5'],
    [percent, '101'],
  ] as const)('%o refuses %s', (parse, text) => {
    expect(() => parse(text)).toThrow(InvalidArgumentError);
  });
});

it('an option that may be repeated keeps every value in order', () => {
  expect(['a', 'b'].reduce<string[]>((all, one) => collect(one, all), collect('first'))).toEqual(['first', 'a', 'b']);
});
