/**
 * Redis as a child of the coordinator, on a Unix socket only. It keeps an append-only file and never evicts. Losing it
 * costs only time (I8).
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, type Closeable, type Log, type Prng, requireProgram } from '@antipode/runtime';
import { Redis, type RedisOptions } from 'ioredis';
import { makeSocketFolder } from './socket-folder.ts';
import { SupervisedChild } from './supervised-child.ts';

export class EmbeddedRedis implements Closeable {
  readonly #dataFolder: string;
  readonly #ports: { clock: Clock; prng: Prng; log: Log };
  #socketFolder = '';
  #child: SupervisedChild | undefined;

  constructor(options: { dataFolder: string; clock: Clock; prng: Prng; log: Log }) {
    this.#dataFolder = options.dataFolder;
    this.#ports = options;
  }

  get socketPath(): string {
    return join(this.#socketFolder, 'redis.sock');
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** @returns how to connect. @throws PROGRAM_MISSING */
  async start(): Promise<RedisOptions> {
    const command = requireProgram('redis-server', {
      debianPackage: 'redis-server',
      alternative: 'Or name an external server as `redisUrl`.',
    });
    const folder = join(this.#dataFolder, 'redis');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#socketFolder = makeSocketFolder({ dataFolder: this.#dataFolder, server: 'redis' });
    const path = this.socketPath;
    const settings = {
      port: '0',
      unixsocket: path,
      unixsocketperm: '700',
      dir: folder,
      appendonly: 'yes',
      appendfsync: 'everysec',
      save: '',
      'maxmemory-policy': 'noeviction',
    };
    this.#child = new SupervisedChild({
      ...this.#ports,
      name: 'redis',
      folder,
      command,
      args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
      stopSignal: 'SIGTERM',
      answers: () => answers(path),
      // Damaged by a full disk or a power cut: the queue only wakes runners, and the database knows of every intent (I8).
      wipe: () => {
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder, { recursive: true, mode: 0o700 });
      },
    });
    await this.#child.start();
    return { path };
  }

  async close(): Promise<void> {
    await this.#child?.close();
    if (this.#socketFolder !== '') rmSync(this.#socketFolder, { recursive: true, force: true });
  }
}

async function answers(path: string): Promise<boolean> {
  const client = new Redis({ path, lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}
