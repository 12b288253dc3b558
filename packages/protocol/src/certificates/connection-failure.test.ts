import { AntipodeError } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { connectionFailure } from './connection-failure.ts';

const coded = (code: string): Error => Object.assign(new Error('prose'), { code });

it.each([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'INVALID_PURPOSE',
  'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
  'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
])('takes %s for a fault of a certificate', (code) => {
  const cause = coded(code);
  expect(connectionFailure(cause)).toMatchObject({ code: 'CERTIFICATE_INVALID', details: { reason: code }, cause });
});

it.each(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENOTFOUND', 'ERR_SSL_WRONG_VERSION_NUMBER', 'CERTAINLY_NOT', ''])(
  'says nothing of %j, which may pass',
  (code) => {
    expect(connectionFailure(coded(code))).toBeUndefined();
  },
);

it('passes on our own refusals, and ignores anything but an error', () => {
  const refusal = new AntipodeError('PEER_REFUSED', 'another site');
  expect(connectionFailure(refusal)).toBe(refusal);
  for (const thrown of [undefined, 'CERT_HAS_EXPIRED', { code: 'CERT_HAS_EXPIRED' }, new Error('CERT_HAS_EXPIRED')])
    expect(connectionFailure(thrown)).toBeUndefined();
});
