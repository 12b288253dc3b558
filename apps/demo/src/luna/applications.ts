/**
 * The programs of the Luna demonstration: pkcs11-tool and keytool, which make keys as they do by default, and openssl,
 * which judges. No token gives such keys out, wrapped or not.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenObject } from '../inventory.ts';
import { type DemoToken, openssl, PIN_VARIABLE } from '../token.ts';
import { softhsmModule } from '../town/softhsm.ts';

/** One use of a key. Its result is the same text wherever the key is the same. */
interface Use {
  readonly key: string;
  readonly program: 'pkcs11-tool' | 'keytool';
  readonly result: () => string;
}

/** A key that did not do at a site what was expected. */
export interface Misuse {
  readonly key: string;
  readonly expected: string;
  readonly found: string;
}

export interface Uses {
  /** How many keys were used by each program. */
  readonly count: Readonly<Record<Use['program'], number>>;
  readonly wrong: readonly Misuse[];
}

const ALIAS = 'java';
const [RSA, EC, AES, MAC, LATER] = ['01', '02', '03', '04', '05'] as const;

/** A Java that starts quickly: each call is a process of its own. */
const QUICK_START = ['-J-XX:TieredStopAtLevel=1', '-J-XX:+UseSerialGC', '-J-Xshare:auto'];

export class LunaApplications {
  readonly #folder: string;
  /** The result of each use at the place where the key was made. */
  readonly #expected = new Map<string, string>();
  #hasLater = false;

  /** @param folder for messages, signatures and public keys */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(this.#file('text'), 'pay 100 to bob: 32 bytes of text');
    openssl('dgst', '-sha256', '-binary', '-out', this.#file('digest'), this.#file('text'));
  }

  /** RSA, EC, AES, HMAC, and an RSA key with a chain of two certificates. */
  makeKeys(token: DemoToken): void {
    const { tool } = token;
    tool('--keypairgen', '--key-type', 'rsa:2048', '--id', RSA, '--label', 'rsa');
    tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', EC, '--label', 'ec');
    tool('--keygen', '--key-type', 'aes:32', '--id', AES, '--label', 'aes');
    tool('--keygen', '--key-type', 'generic:32', '--id', MAC, '--label', 'mac');
    keytool(token, '-genkeypair', '-alias', ALIAS, '-keyalg', 'RSA', '-keysize', '2048', '-dname', 'CN=java');
    const authority = ['-keyout', this.#file('ca.key'), '-out', this.#file('ca.pem'), '-subj', '/CN=authority'];
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...authority, '-days', '30');
    this.#certify(token);
    const chain = [readFileSync(this.#file('certificate.pem')), readFileSync(this.#file('ca.pem'))];
    writeFileSync(this.#file('chain.pem'), Buffer.concat(chain));
    keytool(token, '-importcert', '-noprompt', '-alias', ALIAS, '-file', this.#file('chain.pem'));
    for (const [id, name] of [
      [RSA, 'rsa'],
      [EC, 'ec'],
    ] as const) {
      writeFileSync(this.#file('public.der'), token.tool('--read-object', '--type', 'pubkey', '--id', id));
      openssl('pkey', '-pubin', '-inform', 'DER', '-in', this.#file('public.der'), '-out', this.#file(`${name}.pem`));
    }
    this.#remember(token);
  }

  /** One more, at whatever site is active. */
  makeLaterKey(token: DemoToken): void {
    token.tool('--keygen', '--key-type', 'aes:32', '--id', LATER, '--label', 'later');
    this.#hasLater = true;
    this.#remember(token);
  }

  #remember(token: DemoToken): void {
    for (const { key, result } of this.#uses(token)) if (!this.#expected.has(key)) this.#expected.set(key, result());
  }

  /** Each key is used at a site by the program that made it. */
  use(token: DemoToken): Uses {
    const uses = this.#uses(token);
    const wrong = uses.flatMap(({ key, result }) => {
      const [expected = '', found] = [this.#expected.get(key), result()];
      return found === expected ? [] : [{ key, expected, found }];
    });
    const by = (program: Use['program']): number => uses.filter((one) => one.program === program).length;
    return { count: { 'pkcs11-tool': by('pkcs11-tool'), keytool: by('keytool') }, wrong };
  }

  #uses(token: DemoToken): Use[] {
    const encrypted = (id: string): string => this.#computed(token, '--encrypt', '-m', 'AES-ECB', '--id', id);
    const tool = 'pkcs11-tool';
    return [
      { key: 'rsa', program: tool, result: () => this.#signed(token, RSA, 'rsa') },
      { key: 'ec', program: tool, result: () => this.#signed(token, EC, 'ec') },
      { key: 'aes', program: tool, result: () => encrypted(AES) },
      { key: 'mac', program: tool, result: () => this.#computed(token, '--sign', '-m', 'SHA256-HMAC', '--id', MAC) },
      { key: ALIAS, program: 'keytool', result: () => this.#certify(token) },
      { key: `${ALIAS}: chain`, program: 'keytool', result: () => chainOf(token) },
      ...(this.#hasLater ? [{ key: 'later', program: tool, result: () => encrypted(LATER) } as const] : []),
    ];
  }

  /** @returns what openssl says of the signature, with the public key from the place where the key was made */
  #signed({ tool }: DemoToken, id: string, name: 'rsa' | 'ec'): string {
    const [input, ...mechanism] =
      name === 'rsa' ? ['text', 'SHA256-RSA-PKCS'] : ['digest', 'ECDSA', '--signature-format', 'openssl'];
    const files = ['-i', this.#file(input!), '-o', this.#file('signature')];
    tool('--sign', '--id', id, '-m', ...mechanism, ...files);
    const judged = ['-verify', this.#file(`${name}.pem`), '-signature', this.#file('signature'), this.#file('text')];
    return openssl('dgst', '-sha256', ...judged)
      .toString()
      .trim();
  }

  #computed({ tool }: DemoToken, ...words: string[]): string {
    tool(...words, '-i', this.#file('text'), '-o', this.#file('result'));
    return readFileSync(this.#file('result'), 'hex');
  }

  /** The key signs a request, and the authority accepts it. @returns the public key that it has certified */
  #certify(token: DemoToken): string {
    keytool(token, '-certreq', '-alias', ALIAS, '-file', this.#file('request'));
    const authority = ['-CA', this.#file('ca.pem'), '-CAkey', this.#file('ca.key'), '-CAcreateserial'];
    const issued = this.#file('certificate.pem');
    // It refuses a request whose signature is wrong.
    openssl('x509', '-req', '-in', this.#file('request'), ...authority, '-days', '30', '-out', issued);
    return openssl('x509', '-in', issued, '-noout', '-pubkey').toString();
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }
}

/** The certificates of the chain, as Java shows them. */
function chainOf(token: DemoToken): string {
  const listed = keytool(token, '-list', '-rfc', '-alias', ALIAS).toString();
  const certificates = listed.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return `${certificates.length} certificates\n${certificates.join('\n')}`;
}

function keytool(token: DemoToken, ...words: string[]): Buffer {
  const config = join(token.folder, 'java.cfg');
  writeFileSync(config, `name = partition\nlibrary = ${softhsmModule()}\nslotListIndex = 0\n`);
  const store = ['-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass:env', PIN_VARIABLE];
  const provider = ['-addprovider', 'SunPKCS11', '-providerarg', config];
  return token.run('keytool', ...words, ...store, ...provider, ...QUICK_START);
}

/** The protections of private and secret keys, as pkcs11-tool lists them: `sensitive, always sensitive, ...`. */
export function protectionsOf(list: string, made: readonly TokenObject[]): string[] {
  const labels = new Set(made.map(({ label }) => label));
  return list
    .split(/^(?=\S)/m)
    .filter((object) => /^(Private|Secret) Key/.test(object))
    .flatMap((object) => {
      const label = /^ +label: +(.*?) *$/m.exec(object)?.[1] ?? '';
      const access = /^ +Access: +(.*?) *$/m.exec(object)?.[1] ?? '';
      return labels.has(label.replace(/^'(.*)'$/, '$1')) ? [`${label}: ${access}`] : [];
    })
    .sort();
}
