import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { moduleCandidates } from './candidates.ts';

const MULTIARCH = 'x86_64-linux-gnu';
const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so';
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'antipode-candidates-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text = ''): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const found = (environment: Record<string, string> = {}) =>
  moduleCandidates({ root, multiarch: MULTIARCH, environment }).map(({ module }) => module);

it('finds nothing on a machine without modules', () => {
  expect(found()).toEqual([]);
});

it('finds a module at the path of its vendor, of this architecture', () => {
  put(SOFTHSM);
  put(`/usr/lib/${MULTIARCH}/pkcs11/yubihsm_pkcs11.so`);
  put('/usr/lib/aarch64-linux-gnu/pkcs11/yubihsm_pkcs11.so');
  expect(found()).toEqual([SOFTHSM, `/usr/lib/${MULTIARCH}/pkcs11/yubihsm_pkcs11.so`]);
});

it('finds the modules of p11-kit, by path or by name, and those of its folder for this machine first', () => {
  put('/opt/vendor/p11.so');
  put(`/usr/lib/${MULTIARCH}/pkcs11/other.so`);
  put('/etc/pkcs11/modules/vendor.module', '# a comment\nmodule: /opt/vendor/p11.so\ncritical: no\n');
  put('/usr/share/p11-kit/modules/other.module', 'module:   other.so  \n');
  put('/usr/share/p11-kit/modules/gone.module', 'module: gone.so\n');
  put('/usr/share/p11-kit/modules/empty.module', 'priority: 1\n');
  put('/usr/share/p11-kit/modules/notes.txt', 'module: /opt/vendor/p11.so\n');
  expect(found()).toEqual(['/opt/vendor/p11.so', `/usr/lib/${MULTIARCH}/pkcs11/other.so`]);
});

it('finds the module of a Luna client in its configuration, wherever that is', () => {
  put('/opt/luna/lib/libCryptoki2_64.so');
  const text =
    'Chrystoki2 = {\n   LibUNIX = /opt/luna/lib/libCryptoki2.so;\n   LibUNIX64 = /opt/luna/lib/libCryptoki2_64.so;\n}\n';
  put('/etc/Chrystoki.conf', text);
  expect(found()).toEqual(['/opt/luna/lib/libCryptoki2_64.so']);
  put('/srv/luna/Chrystoki.conf', text.replaceAll('/opt/luna/lib', '/srv/luna'));
  put('/srv/luna/libCryptoki2_64.so');
  expect(found({ ChrystokiConfigurationPath: '/srv/luna' })).toEqual(['/srv/luna/libCryptoki2_64.so']);
});

it('names each file once, and leaves out modules that only stand before others', () => {
  put(SOFTHSM);
  mkdirSync(join(root, `/usr/lib/${MULTIARCH}/pkcs11`), { recursive: true });
  symlinkSync(join(root, SOFTHSM), join(root, `/usr/lib/${MULTIARCH}/pkcs11/alias.so`));
  put('/etc/pkcs11/modules/softhsm2.module', `module: ${SOFTHSM}\n`);
  put('/etc/pkcs11/modules/alias.module', 'module: alias.so\n');
  put(`/usr/lib/${MULTIARCH}/pkcs11/pkcs11-spy.so`);
  put('/etc/pkcs11/modules/spy.module', 'module: pkcs11-spy.so\n');
  expect(found()).toEqual([SOFTHSM]);
});

it('takes NSS with each database that it finds, and without one not at all', () => {
  put(`/usr/lib/${MULTIARCH}/libsoftokn3.so`);
  expect(found()).toEqual([]);
  put('/etc/pki/nssdb/key4.db');
  const [nss] = moduleCandidates({ root, multiarch: MULTIARCH, environment: {} });
  expect(nss).toMatchObject({ source: 'NSS', parameters: expect.stringContaining("configdir='sql:/etc/pki/nssdb'") });
});
