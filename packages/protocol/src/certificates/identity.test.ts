import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { thrown } from '@antipode/runtime/testing';
import type { DescService } from '@bufbuild/protobuf';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { CoordinatorService } from '../gen/antipode/v1/coordinator_pb.ts';
import { OperatorService } from '../gen/antipode/v1/operator_pb.ts';
import { ResolverService } from '../gen/antipode/v1/resolver_pb.ts';
import { SiteAgentService } from '../gen/antipode/v1/site_agent_pb.ts';
import { methodName } from '../service-definition.ts';
import {
  authorise,
  type Identity,
  identityFromNames,
  identityOf,
  identityUri,
  MAY_CALL,
  parseIdentity,
} from './identity.ts';

const part = (first: string, rest: string, maxLength: number) =>
  fc
    .tuple(fc.constantFrom(...first), fc.string({ unit: fc.constantFrom(...rest), maxLength }))
    .map(([head, tail]) => head + tail);
const ALNUM = 'abcdefghijklmnopqrstuvwxyz0123456789';
const identity: fc.Arbitrary<Identity> = fc.record({
  trustDomain: part(`${ALNUM}.-`, `${ALNUM}.-`, 254),
  kind: fc.constantFrom('site', 'coordinator', 'operator', 'application' as const),
  name: part(ALNUM, `${ALNUM}-`, 62),
});

describe('an identity', () => {
  it('gives itself back from its URI', () => {
    fc.assert(
      fc.property(identity, (one) => {
        expect(parseIdentity(identityUri(one))).toEqual(one);
      }),
    );
  });

  it.each([
    'spiffe://example.org/site/',
    'spiffe://example.org/site/-a',
    'spiffe://example.org/site/A',
    'spiffe://example.org/site/a/b',
    'spiffe://example.org/site/a ',
    'spiffe://example.org/site/a\n',
    'spiffe://example.org/site/a?x',
    `spiffe://example.org/site/${'a'.repeat(64)}`,
    'spiffe://example.org/robot/a',
    'spiffe:///site/a',
    'spiffe://Example.org/site/a',
    'spiffe://example.org:443/site/a',
    'https://example.org/site/a',
    ' spiffe://example.org/site/a',
    '',
  ])('is not %j', (uri) => {
    expect(parseIdentity(uri)).toBeUndefined();
  });
});

describe('the identity in the names of a certificate', () => {
  const IMPOSTOR = 'spiffe://example.org/operator/root';
  let keys: webcrypto.CryptoKeyPair;

  beforeAll(async () => {
    keys = (await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ])) as typeof keys;
  });

  /** Names as Node prints those of a real certificate. */
  async function printed(names: x509.JsonGeneralNames): Promise<string> {
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        name: 'CN=test',
        keys,
        signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
        extensions: [new x509.SubjectAlternativeNameExtension(names)],
      },
      webcrypto as never,
    );
    return new X509Certificate(certificate.toString('pem')).subjectAltName ?? '';
  }

  const hostile = fc
    .array(
      fc.oneof(
        fc.constantFrom(`URI:${IMPOSTOR}`, IMPOSTOR, ', ', ',', '"', '\\', '\\"', ':', 'DNS:', 'a.example', '\n', '\0'),
        fc.string({ maxLength: 5 }),
      ),
      { maxLength: 6 },
    )
    .map((parts) => parts.join(''));
  const name = fc.tuple(fc.constantFrom('dns', 'email' as const), hostile).map(([type, value]) => ({ type, value }));

  it('is none of what a DNS name or an address says, whatever it says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(name, { minLength: 1, maxLength: 3 }), async (names) => {
        expect(identityFromNames(await printed(names))).toBeUndefined();
      }),
      { numRuns: 120 },
    );
  });

  it('is that of the one URI, or none, whatever stands beside it', async () => {
    const own = { trustDomain: 'example.org', kind: 'site', name: 'a' } as const;
    await fc.assert(
      fc.asyncProperty(fc.array(name, { maxLength: 2 }), fc.array(name, { maxLength: 2 }), async (before, after) => {
        const found = identityFromNames(await printed([...before, { type: 'url', value: identityUri(own) }, ...after]));
        expect([own, undefined]).toContainEqual(found);
      }),
      { numRuns: 60 },
    );
  });

  it('is found among ordinary names', async () => {
    const names: x509.JsonGeneralNames = [
      { type: 'dns', value: 'a.example' },
      { type: 'url', value: 'spiffe://example.org/site/a' },
      { type: 'ip', value: '192.0.2.1' },
      { type: 'dns', value: 'odd, name' },
    ];
    expect(identityFromNames(await printed(names))).toEqual({ trustDomain: 'example.org', kind: 'site', name: 'a' });
  });

  it('is none where there are two URIs, even two of the same', async () => {
    const url = { type: 'url', value: 'spiffe://example.org/site/a' } as const;
    for (const other of ['https://example.org/', url.value])
      expect(identityFromNames(await printed([url, { type: 'url', value: other }]))).toBeUndefined();
  });

  it.each([
    undefined,
    '',
    'URI:spiffe://example.org/site/a, ???',
    `DNS:"x", URI:"${IMPOSTOR}"`,
    `DNS:x"y, URI:${IMPOSTOR}`,
  ])('is none in %j', (text) => {
    expect(identityFromNames(text)).toBeUndefined();
  });

  it('is none where nobody showed a certificate', () => {
    expect(identityOf({ getAuthContext: () => ({}) })).toBeUndefined();
  });
});

describe('the authorisation table', () => {
  const services: readonly DescService[] = [SiteAgentService, CoordinatorService, OperatorService, ResolverService];

  it('has a row for every method of every service, and no other', () => {
    const methods = services.flatMap((service) => service.methods.map(methodName));
    expect(Object.keys(MAY_CALL).sort()).toEqual(methods.sort());
  });

  it('lets through exactly the kinds of its row, of our own trust domain only', () => {
    for (const [method, kinds] of Object.entries(MAY_CALL)) {
      for (const kind of ['site', 'coordinator', 'operator', 'application'] as const) {
        for (const trustDomain of ['example.org', 'example.com']) {
          const caller = { trustDomain, kind, name: 'a' };
          const call = () => authorise(caller, { method, trustDomain: 'example.org' });
          if (kinds.includes(kind) && trustDomain === 'example.org') expect(call()).toBe(caller);
          else expect(thrown(call)).toMatchObject({ code: 'PEER_REFUSED', details: { method } });
        }
      }
    }
  });

  it.each(['SiteAgentService/Nothing', 'toString', '__proto__', 'constructor', ''])(
    'refuses everybody a method that it does not have: %j',
    (method) => {
      const caller = { trustDomain: 'example.org', kind: 'operator', name: 'a' } as const;
      expect(thrown(() => authorise(caller, { method, trustDomain: 'example.org' })).code).toBe('PEER_REFUSED');
    },
  );

  it('refuses a caller without an identity everything', () => {
    for (const method of Object.keys(MAY_CALL))
      expect(thrown(() => authorise(undefined, { method, trustDomain: 'example.org' })).code).toBe('PEER_REFUSED');
  });

  it('keeps sealed data between sites, and orders with the coordinator', () => {
    const callable = (kind: Identity['kind']) =>
      Object.keys(MAY_CALL).filter((method) => MAY_CALL[method]!.includes(kind));
    const ofOperators = /^(OperatorService|ResolverService)\/|^CoordinatorService\/GetLeader$/;
    expect(callable('operator').every((method) => ofOperators.test(method))).toBe(true);
    expect(callable('application').sort()).toEqual([
      'CoordinatorService/GetLeader',
      'OperatorService/GetStatus',
      'OperatorService/Resolve',
      'ResolverService/LastKnown',
    ]);
    for (const method of ['PullManifest', 'PullBlobs', 'BeginExchange', 'CompleteExchange'])
      expect(MAY_CALL[`SiteAgentService/${method}`]).toEqual(['site']);
    expect(callable('coordinator').filter((method) => /Pull|Exchange/.test(method))).toEqual([]);
  });
});
