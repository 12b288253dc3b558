import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { thrown } from '@antipode/runtime/testing';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { methodName } from '../service-definition.ts';
import {
  authorise,
  type Identity,
  identityFromNames,
  identityOf,
  identityUri,
  MAY_CALL,
  OPERATOR_ROLES,
  type OperatorRole,
  parseIdentity,
} from './identity.ts';

const part = (first: string, rest: string, maxLength: number) =>
  fc
    .tuple(fc.constantFrom(...first), fc.string({ unit: fc.constantFrom(...rest), maxLength }))
    .map(([head, tail]) => head + tail);
const ALNUM = 'abcdefghijklmnopqrstuvwxyz0123456789';
const names = { trustDomain: part(`${ALNUM}.-`, `${ALNUM}.-`, 254), name: part(ALNUM, `${ALNUM}-`, 62) };
const identity: fc.Arbitrary<Identity> = fc.oneof(
  fc.record({ ...names, kind: fc.constantFrom('site', 'coordinator', 'operator', 'application' as const) }),
  fc.record({ ...names, kind: fc.constant('operator' as const), role: fc.constantFrom(...OPERATOR_ROLES) }),
);

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
    'spiffe://example.org/site/a/viewer',
    'spiffe://example.org/application/a/operator',
    'spiffe://example.org/operator/a/',
    'spiffe://example.org/operator/a/root',
    'spiffe://example.org/operator/a/Security',
    'spiffe://example.org/operator/a/security/security',
    'spiffe://example.org/operator/a/security\n',
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

describe('the authorisation table', async () => {
  const generated = new URL('../gen/antipode/v1/', import.meta.url);
  const modules = readdirSync(generated).filter((name) => name.endsWith('_pb.ts'));
  const services = (await Promise.all(modules.map((name) => import(new URL(name, generated).href))))
    .flatMap((module) => Object.values(module as Record<string, { kind?: string }>))
    .filter((one): one is DescService => one.kind === 'service');
  const methods = services.flatMap((service) => service.methods);
  /** By their names, which the wire keeps. A method of another name is taken to change something. */
  const changesNothing = ({ name, parent }: DescMethod): boolean =>
    (parent.name === 'OperatorService' && /^(Get|List|Plan|Resolve)/.test(name)) ||
    [
      'CoordinatorService/GetLeader',
      // Its own certificate, for the role that it has.
      'CertificateService/RenewCertificate',
      'ResolverService/LastKnown',
      'ResolverService/OwnAccount',
      'RevocationService/GetRevocations',
    ].includes(`${parent.name}/${name}`);
  const operator = (role?: OperatorRole): Identity => ({
    trustDomain: 'example.org',
    kind: 'operator',
    name: 'olga',
    ...(role === undefined ? {} : { role }),
  });
  const outcome = (caller: Identity, method: string): string => {
    try {
      return authorise(caller, { method, trustDomain: 'example.org' }) === caller ? 'admitted' : 'as somebody else';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const callable = (caller: Identity): string[] =>
    methods.map(methodName).filter((method) => outcome(caller, method) === 'admitted');

  it('has a row for every method of every service, and no other', () => {
    expect(services.length).toBeGreaterThanOrEqual(5);
    expect(Object.keys(MAY_CALL).sort()).toEqual(methods.map(methodName).sort());
    expect(Object.values(MAY_CALL).filter((row) => row.length === 0)).toEqual([]);
  });

  it('lets through exactly the processes of its row, of our own trust domain only', () => {
    for (const [method, row] of Object.entries(MAY_CALL)) {
      for (const kind of ['site', 'coordinator', 'application'] as const) {
        for (const trustDomain of ['example.org', 'example.com']) {
          const caller = { trustDomain, kind, name: 'a' };
          const call = () => authorise(caller, { method, trustDomain: 'example.org' });
          if (row.includes(kind) && trustDomain === 'example.org') expect(call()).toBe(caller);
          else expect(thrown(call)).toMatchObject({ code: 'PEER_REFUSED', details: { method } });
        }
      }
    }
  });

  it('refuses a viewer every method of every service that changes something', () => {
    const reads = methods.filter(changesNothing).map(methodName);
    for (const method of methods.map(methodName))
      expect([method, outcome(operator('viewer'), method) === 'admitted']).toEqual([method, reads.includes(method)]);
    expect(reads.length).toBeGreaterThan(10);
    expect(methods.length - reads.length).toBeGreaterThan(30);
  });

  it('gives an operator more than a viewer, and security more than an operator', () => {
    const [viewer, ordinary, security] = OPERATOR_ROLES.map((role) => callable(operator(role)));
    expect(ordinary).toEqual(expect.arrayContaining(viewer!));
    expect(security).toEqual(expect.arrayContaining(ordinary!));
    expect(ordinary!.filter((method) => !viewer!.includes(method))).toContain('OperatorService/Failover');
    expect(security!.filter((method) => !ordinary!.includes(method)).sort()).toEqual([
      'OperatorService/CreateSiteToken',
      'OperatorService/ForgetSite',
      'OperatorService/ReadmitSite',
      'OperatorService/RevokeSiteToken',
      'OperatorService/SubmitApproval',
      'RevocationService/SubmitRevocations',
    ]);
    expect(
      security!.filter(
        (method) => !/^(Operator|Resolver|Revocation)Service\/|\/(GetLeader|RenewCertificate)$/.test(method),
      ),
    ).toEqual([]);
  });

  it('lets a certificate without a role call what every operator could before there were roles', () => {
    const added = [
      'OperatorService/CreateSiteToken',
      'OperatorService/ForgetSite',
      'OperatorService/ReadmitSite',
      'OperatorService/RevokeSiteToken',
      'RevocationService/SubmitRevocations',
    ];
    const before = callable(operator('security')).filter((method) => !added.includes(method));
    expect(callable(operator())).toEqual(before);
  });

  it.each([
    ['viewer', 'OperatorService/Failover', 'operator'],
    ['viewer', 'OperatorService/SubmitApproval', 'security'],
    ['operator', 'OperatorService/SubmitApproval', 'security'],
  ] as const)('tells an operator with role %s that %s needs role %s', (role, method, needed) => {
    const call = () => authorise(operator(role), { method, trustDomain: 'example.org' });
    expect(thrown(call)).toMatchObject({ code: 'OPERATOR_ROLE_INSUFFICIENT', details: { method, needed, role } });
  });

  it('does not speak of roles where no operator may call, or to an operator of another trust domain', () => {
    expect(outcome(operator('security'), 'SiteAgentService/Promote')).toBe('PEER_REFUSED');
    const stranger = { ...operator('viewer'), trustDomain: 'example.com' };
    expect(outcome(stranger, 'OperatorService/Failover')).toBe('PEER_REFUSED');
  });

  it.each(['SiteAgentService/Nothing', 'toString', '__proto__', 'constructor', ''])(
    'refuses everybody a method that it does not have: %j',
    (method) => {
      expect(outcome(operator('security'), method)).toBe('PEER_REFUSED');
    },
  );

  it('refuses a caller without an identity everything', () => {
    for (const method of Object.keys(MAY_CALL))
      expect(thrown(() => authorise(undefined, { method, trustDomain: 'example.org' })).code).toBe('PEER_REFUSED');
  });

  it('keeps sealed data between sites, and orders with the coordinator', () => {
    const process = (kind: Identity['kind']) => callable({ trustDomain: 'example.org', kind, name: 'a' });
    expect(process('application').sort()).toEqual([
      'CertificateService/RenewCertificate',
      'CoordinatorService/GetLeader',
      'OperatorService/GetStatus',
      'OperatorService/Resolve',
      'ResolverService/LastKnown',
      'RevocationService/GetRevocations',
    ]);
    for (const method of ['PullManifest', 'PullBlobs', 'BeginExchange', 'CompleteExchange'])
      expect(MAY_CALL[`SiteAgentService/${method}`]).toEqual(['site']);
    expect(process('coordinator').filter((method) => /Pull|Exchange/.test(method))).toEqual([]);
  });
});
