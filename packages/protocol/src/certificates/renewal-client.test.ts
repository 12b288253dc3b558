import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { renewedByAny } from './renewal-client.ts';

const coordinators = ['main', 'south', 'east'].map((id) => ({ id, address: `${id}:7400` }));

/** Coordinators by what they answer: a certificate, or an error. */
function asking(answers: Readonly<Record<string, string>>) {
  const [asked, closed]: string[][] = [[], []];
  const dial = (_service: unknown, { id }: { id: string }) => ({
    renewCertificate: async () => {
      asked!.push(id);
      const answer = answers[id]!;
      if (/^[A-Z_]+$/.test(answer)) throw new AntipodeError(answer as ErrorCode, 'not here');
      return { certificatePem: answer };
    },
    close: () => void closed!.push(id),
  });
  return { asked: asked!, closed: closed!, renewed: renewedByAny('request', { coordinators, dial: dial as never }) };
}

describe('a renewal', () => {
  it('is signed by the coordinator that holds the issuer, whoever leads', async () => {
    const { asked, closed, renewed } = asking({ main: 'ISSUER_MISSING', south: 'SITE_UNREACHABLE', east: 'pem' });
    expect(await renewed).toBe('pem');
    expect([asked, closed]).toEqual([
      ['main', 'south', 'east'],
      ['main', 'south', 'east'],
    ]);
  });

  it('ends with the first coordinator that signs', async () => {
    const { asked, renewed } = asking({ main: 'pem', south: 'other', east: 'other' });
    expect([await renewed, asked]).toEqual(['pem', ['main']]);
  });

  it.each([
    ['that there is no issuer', ['SITE_UNREACHABLE', 'ISSUER_MISSING', 'TIMED_OUT'], 'ISSUER_MISSING'],
    [
      'why a coordinator with an issuer refuses',
      ['ISSUER_MISSING', 'CERTIFICATE_REVOKED', 'TIMED_OUT'],
      'CERTIFICATE_REVOKED',
    ],
    ['that nobody answers', ['TIMED_OUT', 'SITE_UNREACHABLE', 'TIMED_OUT'], 'TIMED_OUT'],
  ])('that nobody signs says %s', async (_what, [main = '', south = '', east = ''], code) => {
    expect((await rejection(asking({ main, south, east }).renewed)).code).toBe(code);
  });

  it('has somebody to ask', async () => {
    const none = renewedByAny('request', { coordinators: [], dial: () => expect.unreachable() });
    expect((await rejection(none)).code).toBe('SITE_UNREACHABLE');
  });
});
