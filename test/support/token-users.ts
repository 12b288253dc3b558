/**
 * Other users of a token than Antipode: OpenSSL through its PKCS#11 engine, and the NSS tools through a database that has
 * the module loaded. PINs reach them in files only. Plain OpenSSL, without any token, is what judges their results.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SOFTHSM_MODULE, type TestToken, USER_PIN } from './tokens.ts';

/** A folder in which programs run and leave their files, whichever token they use. */
export class Desk {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  /** Its output. If it fails, the error contains its standard error. */
  run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): string {
    const options = { cwd: this.folder, env: { ...process.env, ...env }, stdio: 'pipe' as const };
    return execFileSync(program, args, options).toString();
  }

  /** Plain OpenSSL: software only. */
  openssl(...args: string[]): string {
    return this.run('openssl', args);
  }
}

/** OpenSSL with the keys of one token. The engine finds a key by its CKA_ID. */
export class EngineUser {
  readonly #desk: Desk;
  readonly #token: TestToken;
  readonly #pinFile: string;
  readonly #config: string;

  constructor(desk: Desk, token: TestToken) {
    this.#desk = desk;
    this.#token = token;
    this.#pinFile = join(token.folder, 'engine.pin');
    this.#config = join(token.folder, 'engine.cnf');
    // Without a line end: the engine takes the whole file for the PIN.
    writeFileSync(this.#pinFile, USER_PIN, { mode: 0o600 });
    const sections = {
      init: 'engines = engines',
      engines: 'pkcs11 = pkcs11',
      pkcs11: `engine_id = pkcs11\nMODULE_PATH = ${SOFTHSM_MODULE}\ninit = 0`,
    };
    const text = Object.entries(sections).map(([name, lines]) => `[${name}]\n${lines}\n`);
    writeFileSync(this.#config, `openssl_conf = init\n${text.join('')}`);
  }

  openssl(...args: string[]): string {
    const [command = '', ...rest] = args;
    const form = command === 'pkey' ? '-inform' : '-keyform';
    return this.#desk.run('openssl', [command, '-engine', 'pkcs11', form, 'engine', ...rest], {
      ...this.#token.environment,
      OPENSSL_CONF: this.#config,
    });
  }

  /** The private key under this CKA_ID (hexadecimal), as a URI (RFC 7512). */
  key(id: string): string {
    return this.#uri(`id=${id.replace(/../g, '%$&')}`, 'private');
  }

  /** The private key under this label, as a URI. The label must need no escapes. */
  keyByLabel(label: string): string {
    return this.#uri(`object=${label}`, 'private');
  }

  publicKey(id: string): string {
    return this.#uri(`id=${id.replace(/../g, '%$&')}`, 'public');
  }

  #uri(name: string, type: string): string {
    return `pkcs11:token=${this.#token.label};${name};type=${type}?pin-source=file:${this.#pinFile}`;
  }
}

/** The NSS tools with one token, beside an empty database of their own. */
export class NssUser {
  readonly #desk: Desk;
  readonly #token: TestToken;
  readonly #database: string;

  constructor(desk: Desk, token: TestToken) {
    this.#desk = desk;
    this.#token = token;
    const folder = join(token.folder, 'nss');
    mkdirSync(folder);
    this.#database = `sql:${folder}`;
    this.#run('certutil', '-N', '--empty-password');
    this.#run('modutil', '-add', 'token', '-libfile', SOFTHSM_MODULE, '-force');
  }

  /** `certutil`, `cmsutil`, `symkeyutil`: those that take the PIN from a file by -f. */
  run(tool: string, ...args: string[]): string {
    return this.#run(tool, ...args, '-f', this.#token.config.pinFile);
  }

  /** Keys that applications can replicate. By default NSS makes unextractable keys. */
  makeRequest(file: string, ...key: string[]): void {
    writeFileSync(this.#desk.at('noise'), Buffer.alloc(1024, file));
    const flags = ['--keyAttrFlags', 'token,private,sensitive,extractable', '-z', this.#desk.at('noise')];
    this.run('certutil', '-R', '-h', this.#token.label, ...key, ...flags, '-o', file);
  }

  /** Into the token, where it makes a nickname of the key. */
  addCertificate(name: string, file: string): void {
    this.run('certutil', '-A', '-h', this.#token.label, '-n', name, '-t', ',,', '-i', file);
  }

  /** Into the database: trust is not kept in tokens. */
  trust(file: string): void {
    this.run('certutil', '-A', '-n', 'authority', '-t', 'TC,TC,TC', '-i', file);
  }

  importPkcs12(file: string, passwordFile: string): void {
    const pin = ['-k', this.#token.config.pinFile];
    this.#run('pk12util', '-i', file, '-h', this.#token.label, ...pin, '-w', passwordFile);
  }

  /** signtool knows a PIN on the command line or in a command file. */
  signArchive(file: string, { folder, certificate }: { folder: string; certificate: string }): void {
    const commands = {
      certdir: this.#database,
      certname: certificate,
      password: USER_PIN,
      jarfile: file,
      signdir: folder,
    };
    const text = Object.entries(commands).map(([name, value]) => `${name}=${value}\n`);
    const commandFile = join(this.#token.folder, 'signtool');
    writeFileSync(commandFile, text.join(''), { mode: 0o600 });
    this.#desk.run('signtool', ['-f', commandFile], this.#token.environment);
  }

  #run(tool: string, ...args: string[]): string {
    const database = tool === 'modutil' ? '-dbdir' : '-d';
    return this.#desk.run(tool, [...args, database, this.#database], this.#token.environment);
  }
}
