import { expect, it } from 'vitest';
import { tokenUri } from './pkcs11-uri.ts';

it('is of the form of RFC 7512, with everything encoded that would end a part', () => {
  const odd = { module: '/opt/my lib?x&y/m.so', tokenLabel: 'a;b=c d/ä', serial: '00 1' };
  expect(tokenUri(odd)).toBe(
    'pkcs11:token=a%3Bb%3Dc%20d%2F%C3%A4;serial=00%201?module-path=/opt/my%20lib%3Fx%26y/m.so',
  );
});

it('gives its parts back', () => {
  for (const tokenLabel of ['payments', "it's", 'äöü €', '100%', 'a+b', '\u0000']) {
    const uri = tokenUri({ module: '/m.so', tokenLabel, serial: '1' });
    expect(decodeURIComponent(/token=([^;?]*);/.exec(uri)![1]!)).toBe(tokenLabel);
  }
});
