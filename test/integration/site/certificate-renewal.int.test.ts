/**
 * Certificates renew themselves while everything runs: real mTLS, a coordinator with an issuer, the command as a process.
 * Short lives are issued in the past, so that no test waits for them.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect } from 'node:tls';
import {
  CertificateService,
  createClient,
  describeCertificate,
  type Identity,
  installRenewal,
  issueCertificate,
  RevocationService,
  RpcServer,
  readRequest,
  requestRenewal,
  revocationFileText,
  type SignedRevocations,
  SiteAgentService,
  signRequest,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { SomeOperators, someHandlers, someRevocation, someRevocations } from '@antipode/protocol/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { makeIssuer } from '@antipode/setup';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { antipode } from '../../support/command.ts';
import { TestSystem } from '../../support/system.ts';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust, type TestTrust } from '../../support/trust.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const RENEWED_DAYS = 30;

const filesIn = (folder: string): TlsFiles => ({
  caFile: join(folder, 'ca.crt'),
  certificateFile: join(folder, 'tls.crt'),
  keyFile: join(folder, 'tls.key'),
});
const endMsOf = ({ certificateFile }: TlsFiles): number =>
  describeCertificate(readFileSync(certificateFile, 'utf8')).notAfter.getTime();

describe('in a running system', () => {
  let system: TestSystem;
  const folderOf = (name: string): string => join(system.folder, name);
  const authority = () => ({
    certificatePem: readFileSync(join(folderOf('authority'), 'ca.crt'), 'utf8'),
    keyPem: readFileSync(join(folderOf('authority'), 'ca.key'), 'utf8'),
  });

  /** A certificate with half an hour of life, of which ten minutes are left. */
  async function shorten(folder: string): Promise<void> {
    const { identity } = describeCertificate(readFileSync(join(folder, 'tls.crt'), 'utf8'));
    const short = await issueCertificate({
      authority: authority(),
      identity: identity as Identity,
      validDays: (30 * MINUTE_MS) / DAY_MS,
      nowMs: systemClock.wallMs() - 20 * MINUTE_MS,
    });
    writeFileSync(join(folder, 'tls.crt'), short.certificatePem);
    writeFileSync(join(folder, 'tls.key'), short.keyPem);
    expect(endMsOf(filesIn(folder)) - systemClock.wallMs()).toBeLessThan(10 * MINUTE_MS);
  }
  const isLong = (folder: string): boolean =>
    endMsOf(filesIn(folder)) - systemClock.wallMs() > (RENEWED_DAYS - 1) * DAY_MS;

  beforeAll(async () => {
    system = await TestSystem.start();
    await makeIssuer({ folder: folderOf('issuer'), authority: folderOf('authority'), name: 'main' });
  }, 120_000);
  afterAll(() => system?.close());

  it('a coordinator without an issuer signs nothing, and says what to do', async () => {
    const configFile = join(folderOf('operator'), 'operator.yaml');
    const { code, stderr } = await antipode(['certificate', 'renew', '--json'], { configFile });
    expect([code, JSON.parse(stderr)]).toMatchObject([5, { error: { code: 'ISSUER_MISSING' } }]);
    expect(endMsOf(filesIn(folderOf('operator'))) - systemClock.wallMs()).toBeGreaterThan(300 * DAY_MS);
  });

  it('agents and a coordinator whose certificates end in ten minutes renew them, and no heartbeat is lost', async () => {
    const folders = ['site-a', 'site-b', 'coordinator'].map(folderOf);
    const issuer = ['certificate: ../issuer/issuer.crt', 'key: ../issuer/issuer.key', `days: ${RENEWED_DAYS}`];
    await system.withHooks(`issuer:\n${issuer.map((line) => `  ${line}\n`).join('')}`);
    await system.until('all sites are up', async () =>
      (await system.operator.getStatus({})).sites.every(({ state }) => state === 'up'),
    );
    const from = system.logLines.length;
    const startedMs = systemClock.monotonicMs();
    for (const folder of folders) await shorten(folder);
    await system.until('the files are new', async () => folders.every(isLong));
    await system.until('the agents report the new certificates', async () => {
      const { sites } = await system.operator.getStatus({});
      expect(sites.filter(({ state }) => state !== 'up')).toEqual([]);
      const limitMs = systemClock.wallMs() + (RENEWED_DAYS - 1) * DAY_MS;
      return sites.every(({ certificate }) => Number(certificate?.certificateEndsMs ?? 0) > limitMs);
    });
    // New keys, and nothing that waits.
    for (const folder of folders) {
      const { certificateFile, keyFile } = filesIn(folder);
      expect([`${keyFile}.next`, `${certificateFile}.next`].filter(existsSync)).toEqual([]);
    }
    // Everybody finds everybody with the new certificates, over new connections.
    await system.makeKey('a', '01');
    await system.until('b and c have it', () => system.replicate(['b', 'c']));
    const lines = system.logLines.slice(from).map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter(({ message }) => message === 'the certificate was renewed, with a new key')).toHaveLength(3);
    const lost = lines.filter(
      ({ message, method }) =>
        message === 'loop pass failed' || (message === 'call failed' && method === 'CoordinatorService/Heartbeat'),
    );
    expect(lost).toEqual([]);
    const elapsedMs = systemClock.monotonicMs() - startedMs;
    for (const { stateAgeMs } of (await system.operator.getStatus({})).sites)
      expect(Number(stateAgeMs)).toBeGreaterThanOrEqual(elapsedMs);
  }, 120_000);

  it('an operator renews a certificate by a command, and again with the authority offline', async () => {
    const folder = folderOf('operator');
    const configFile = join(folder, 'operator.yaml');
    const ran = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await antipode(args, { configFile });
      expect([code, stderr]).toEqual([0, expect.anything()]);
      return stdout;
    };
    await ran('certificate', 'renew');
    expect(isLong(folder)).toBe(true);
    const [request, certificate] = [join(folder, 'own.csr'), join(folder, 'own.crt')];
    await ran('certificate', 'request', '--out', request);
    const sign = ['certificate', 'sign', request, '--authority', folderOf('authority'), '--out', certificate];
    expect((await antipode(sign, {})).code).toBe(2);
    expect((await antipode([...sign, '--yes', '--days', '99'], {})).code).toBe(0);
    const signedOnce = readFileSync(certificate, 'utf8');
    const signedAgain = await antipode([...sign, '--yes', '--json'], {});
    expect([signedAgain.code, signedAgain.stderr]).toEqual([1, expect.stringContaining('FILE_EXISTS')]);
    expect(readFileSync(certificate, 'utf8')).toBe(signedOnce);
    await ran('certificate', 'install', certificate);
    expect(JSON.parse(await ran('certificate', 'show', '--json'))).toMatchObject({
      identity: expect.stringMatching(/\/operator\//),
      ends: new Date(endMsOf(filesIn(folder))).toISOString(),
    });
    expect(endMsOf(filesIn(folder)) - systemClock.wallMs()).toBeGreaterThan(98 * DAY_MS);
    expect((await antipode(['group', 'list'], { configFile })).code).toBe(0);
  });
});

describe('a renewal by a command', () => {
  const folder = temporaryFolder('renewal-by-command');
  const operators = new SomeOperators();
  let trust: TestTrust;
  let server: RpcServer;
  let port: number;
  let asked: string[];
  beforeAll(async () => {
    trust = await makeTrust(folder);
    server = new RpcServer({ tls: new Tls(await trust.issue({ kind: 'coordinator', name: 'main' })), log: silentLog });
    server.add(
      CertificateService,
      someHandlers(CertificateService, {
        renewCertificate: async ({ requestPem }) => {
          asked.push('renew');
          const nowMs = systemClock.wallMs();
          const request = await readRequest(requestPem);
          return { certificatePem: await signRequest({ authority: trust.authority, validDays: 9, nowMs }, request) };
        },
      }),
    );
    server.add(
      RevocationService,
      someHandlers(RevocationService, {
        getRevocations: async () => {
          asked.push('list');
          return { process: 'coordinator/main' };
        },
      }),
    );
    port = await server.listen('localhost:0');
  });
  beforeEach(() => {
    asked = [];
  });
  afterAll(async () => {
    await server?.close(0);
    rmSync(folder, { recursive: true, force: true });
  });

  const revoking = (name: string): SignedRevocations =>
    operators.signRevocations(
      someRevocations([
        someRevocation({ name: `spiffe://test.example/${name}`, issuedBefore: '2036-01-01T00:00:00.000Z' }),
      ]),
    );
  /** The configuration of an agent, or of an application, and the list that is beside it. */
  async function placed(kind: 'site' | 'application', list?: SignedRevocations): Promise<string> {
    const files = await trust.issue({ kind, name: 'a' });
    const place = dirname(files.caFile);
    const [config, data] = [join(place, `${kind}.yaml`), join(place, 'data')];
    mkdirSync(data);
    if (list !== undefined)
      writeFileSync(join(kind === 'site' ? data : place, 'revocations.json'), revocationFileText(list));
    const own = kind === 'site' ? 'site: a\ndataFolder: data\n' : '';
    writeFileSync(
      config,
      `${own}tls: { ca: ca.pem, certificate: certificate.pem, key: key.pem }
coordinators: [{ id: main, address: 'localhost:${port}' }]
${operators.revocationSection}`,
    );
    return config;
  }

  it.each(['site', 'application'] as const)(
    'calls no coordinator that the list at the %s has revoked',
    async (kind) => {
      const config = await placed(kind, revoking('coordinator/main'));
      const { code, stderr } = await antipode(['certificate', 'renew', '--config', config, '--json']);
      expect([code, JSON.parse(stderr.trim().split('\n').at(-1) ?? '')]).toMatchObject([
        6,
        { error: { code: 'CERTIFICATE_REVOKED' } },
      ]);
      expect(asked).toEqual([]);
      const other = await placed(kind, revoking('coordinator/other'));
      expect((await antipode(['certificate', 'renew', '--config', other])).code).toBe(0);
      expect(asked).toContain('renew');
    },
  );

  it('says that its own certificate is revoked, and asks nobody for another one', async () => {
    const config = await placed('site', revoking('site/a'));
    const { code, stderr } = await antipode(['certificate', 'renew', '--config', config]);
    expect([code, stderr]).toEqual([6, expect.stringContaining('CERTIFICATE_REVOKED')]);
    expect(asked).not.toContain('renew');
  });

  it('names a fault in who may revoke, and a certificate can be put in by hand all the same', async () => {
    const config = await placed('site');
    appendFileSync(config, 'approvals: nonsense\n');
    const renewed = await antipode(['certificate', 'renew', '--config', config]);
    expect([renewed.code, renewed.stderr]).toEqual([2, expect.stringContaining('CONFIG_INVALID')]);
    const out = join(dirname(config), 'own.csr');
    const args = ['certificate', 'request', '--config', config, '--out', out];
    expect([(await antipode(args)).code, asked]).toEqual([0, []]);
  });

  it('guesses nothing of a list that cannot be read', async () => {
    const config = await placed('site');
    writeFileSync(join(dirname(config), 'data', 'revocations.json'), '{');
    const { stderr } = await antipode(['certificate', 'renew', '--config', config]);
    expect([stderr, asked]).toEqual([expect.stringContaining('REVOCATION_LIST_INVALID'), []]);
  });
});

describe('a server that renews its certificate', () => {
  const folder = temporaryFolder('renewal');
  let trust: TestTrust;
  beforeAll(async () => {
    trust = await makeTrust(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('shows the new one to new connections, while a stream that stands goes on to its end', async () => {
    const files = await trust.issue({ kind: 'site', name: 'a' });
    const peer = new Tls(await trust.issue({ kind: 'site', name: 'b' }));
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const server = new RpcServer({ tls: new Tls(files, { refreshMs: 20 }), log: silentLog });
    server.add(
      SiteAgentService,
      someHandlers(SiteAgentService, {
        pullBlobs: async function* () {
          yield { blobs: [Uint8Array.of(1)] };
          await held;
          yield { blobs: [Uint8Array.of(2)] };
        },
      }),
    );
    const port = await server.listen('localhost:0');
    const client = createClient(SiteAgentService, {
      address: `localhost:${port}`,
      tls: peer,
      expected: { kind: 'site', name: 'a' },
    });
    const shown = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({ port, host: 'localhost', rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
          resolve(createHash('sha256').update(socket.getPeerCertificate().raw).digest('hex'));
          socket.destroy();
        }).on('error', reject);
      });
    try {
      const stream = client.pullBlobs({ group: 'g', sha256: [new Uint8Array(32)] })[Symbol.asyncIterator]();
      const first = await stream.next();
      const before = await shown();
      const request = await readRequest(await requestRenewal(files));
      const nowMs = systemClock.wallMs();
      const certificatePem = await signRequest({ authority: trust.authority, validDays: 9, nowMs }, request);
      installRenewal(files, { certificatePem, clock: systemClock });
      const wanted = new X509Certificate(certificatePem).fingerprint256.replaceAll(':', '').toLowerCase();
      expect(before).not.toBe(wanted);
      while ((await shown()) !== wanted);
      release();
      const values = [first, await stream.next()].map(({ value }) => [...(value?.blobs[0] ?? [])]);
      expect([values, (await stream.next()).done]).toEqual([[[1], [2]], true]);
    } finally {
      release();
      client.close();
      await server.close(0);
    }
  });
});
