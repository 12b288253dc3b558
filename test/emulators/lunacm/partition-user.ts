/** A partition as programs see it that use it through PKCS#11: a SoftHSM token in a folder of its own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { softhsmFolder, softhsmModule } from '@antipode/demo/softhsm';
import { SoftHsmToken } from './softhsm-token.ts';
import { tokensFolder } from './token-objects.ts';

export interface TokenIdentity {
  readonly serial: string;
  readonly label: string;
  readonly pin: string;
}

export class PartitionUser {
  readonly folder: string;
  readonly #identity: TokenIdentity;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(site: string, identity: TokenIdentity) {
    this.folder = join(tokensFolder(site), identity.serial);
    this.#identity = identity;
    mkdirSync(this.folder, { recursive: true });
    this.#env = { ...process.env, ...softhsmFolder(this.folder) };
  }

  /** The first partition of a cloning domain. */
  static first(site: string, identity: TokenIdentity): PartitionUser {
    const user = new PartitionUser(site, identity);
    const { label, pin } = identity;
    const words = ['--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', pin];
    execFileSync('softhsm2-util', words, { env: user.#env, stdio: 'pipe' });
    return user;
  }

  /** Another partition of the same domain. */
  inDomain(site: string, identity: TokenIdentity): PartitionUser {
    const user = new PartitionUser(site, identity);
    const from = new SoftHsmToken(join(this.folder, 'tokens'));
    from.twin(join(user.folder, 'tokens'), { ...identity, ownPin: this.#identity.pin });
    return user;
  }

  /** @throws what the program prints */
  tool(...words: string[]): Buffer {
    const { label, pin } = this.#identity;
    const login = ['--module', softhsmModule(), '--token-label', label, '--login', '--pin', pin];
    return execFileSync('pkcs11-tool', [...login, ...words], { env: this.#env, stdio: 'pipe' });
  }

  /** @throws what the program prints */
  keytool(...words: string[]): Buffer {
    const config = join(this.folder, 'java.cfg');
    writeFileSync(config, `name = partition\nlibrary = ${softhsmModule()}\nslotListIndex = 0\n`);
    const store = ['-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass', this.#identity.pin];
    const provider = ['-addprovider', 'SunPKCS11', '-providerarg', config];
    return execFileSync('keytool', [...words, ...store, ...provider], { env: this.#env, stdio: 'pipe' });
  }
}
