/**
 * A site with a certificate of the trust domain and bad intent. It serves what the test gives it, and calls anybody.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createClient,
  type Handlers,
  issueCertificate,
  RpcServer,
  SiteAgentService,
  type SiteAgentService as SiteAgentServiceType,
  Tls,
} from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import type { TestSystem } from '../../support/system.ts';

type SiteHandlers = Handlers<typeof SiteAgentServiceType>;

export class RogueSite {
  readonly name: string;
  readonly #tls: Tls;
  readonly #server: RpcServer;
  readonly #clients: { close(): void }[] = [];
  /** Replaced by tests; what is not served here rejects. */
  serves: Partial<SiteHandlers> = {};
  /** Methods that somebody has called. */
  readonly calls: string[] = [];
  address = '';

  private constructor(name: string, tls: Tls) {
    this.name = name;
    this.#tls = tls;
    this.#server = new RpcServer({ tls, log: silentLog });
  }

  static async start(system: TestSystem, name = 'rogue'): Promise<RogueSite> {
    const authority = join(system.folder, 'authority');
    const { certificatePem, keyPem } = await issueCertificate({
      authority: {
        certificatePem: readFileSync(join(authority, 'ca.crt'), 'utf8'),
        keyPem: readFileSync(join(authority, 'ca.key'), 'utf8'),
      },
      identity: { trustDomain: 'test.antipode', kind: 'site', name },
      validDays: 1,
      nowMs: Date.now(),
    });
    const file = (ending: string, text: string): string => {
      const path = join(system.folder, `${name}.${ending}`);
      writeFileSync(path, text, { mode: 0o600 });
      return path;
    };
    const site = new RogueSite(
      name,
      new Tls({
        caFile: join(authority, 'ca.crt'),
        certificateFile: file('crt', certificatePem),
        keyFile: file('key', keyPem),
      }),
    );
    const handlers: Partial<SiteHandlers> = {};
    for (const { localName } of SiteAgentService.methods)
      Reflect.set(handlers, localName, (...args: unknown[]): unknown => {
        site.calls.push(localName);
        const handler: ((...given: unknown[]) => unknown) | undefined = Reflect.get(site.serves, localName);
        return handler === undefined ? Promise.reject(new Error('not served')) : handler(...args);
      });
    site.#server.add(SiteAgentService, handlers as SiteHandlers);
    site.address = `localhost:${await site.#server.listen('localhost:0')}`;
    return site;
  }

  /** As a coordinator names it in an order. */
  get peer(): { readonly site: string; readonly address: string } {
    return { site: this.name, address: this.address };
  }

  /** Calls an agent with the certificate of this site. */
  agent(system: TestSystem, name: string) {
    const client = createClient(SiteAgentService, {
      address: `localhost:${system.agent(name).port}`,
      tls: this.#tls,
      expected: { kind: 'site', name },
    });
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#server.close();
  }
}
