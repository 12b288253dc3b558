import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { type JoinToken, siteTokenFrom, siteTokenText } from './join-token.ts';

const TOKEN: JoinToken = {
  id: '0123456789abcdef',
  trustDomain: 'dr.example.org',
  site: 'b',
  secret: new Uint8Array(32).fill(0xa5),
  expiresMs: 1_800_000_000_000,
  authorities: ['ab'.repeat(32)],
  coordinators: [{ id: 'main', address: 'coordinator.example.org:7400', join: '[2001:db8::1]:7402' }],
};

it('survives its way as one line, with the blanks around it that editors add', () => {
  const text = siteTokenText(TOKEN);
  expect(text).toMatch(/^antipode-site-1\.[\w-]+\.[0-9a-f]{8}$/);
  expect(siteTokenFrom(`  ${text}\r\n`)).toEqual(TOKEN);
});

describe('refuses, without repeating any of it,', () => {
  const text = siteTokenText(TOKEN);
  const [prefix = '', body = ''] = text.split('.');
  const changed = `${prefix}.${body.slice(0, 40)}X${body.slice(41)}.${text.split('.')[2]}`;
  it.each([
    ['nothing', ''],
    ['another text', 'hunter2-is-my-password'],
    ['a line that was cut', text.slice(0, -3)],
    ['a line with one other character', changed],
    ['a line with more behind it', `${text}.more`],
    ['a line that is too long', `${prefix}.${'A'.repeat(9_000)}.00000000`],
  ])('%s', (_what, given) => {
    const error = thrown(() => siteTokenFrom(given));
    expect(error.code).toBe('SITE_TOKEN_INVALID');
    expect(error.message).not.toContain(body.slice(0, 12));
    expect(error.message).not.toContain('hunter2');
  });

  it.each<[string, object]>([
    ['an id of another form', { id: '01' }],
    ['a site with a path in its name', { site: '../a' }],
    ['a secret that is too short', { secret: new Uint8Array(31) }],
    ['no authority', { authorities: [] }],
    ['an authority of another form', { authorities: ['ab'] }],
    ['no coordinator', { coordinators: [] }],
    ['a coordinator without an address', { coordinators: [{ id: 'main', join: 'a:1' }] }],
    ['no end', { expiresMs: 'soon' }],
    ['a trust domain with a slash', { trustDomain: 'a/b' }],
  ])('a token with %s', (_what, change) => {
    const given = siteTokenText({ ...TOKEN, ...change } as JoinToken);
    expect(thrown(() => siteTokenFrom(given)).code).toBe('SITE_TOKEN_INVALID');
  });
});
