/** Whether a Redis that somebody else runs can be used, for `antipode doctor`: asked, and left as it was. */
import { AntipodeError } from '@antipode/runtime';
import { Redis } from 'ioredis';
import { externalQueue } from './external-queue.ts';

const TIMEOUT_MS = 5_000;

/** @throws CONFIG_INVALID, QUEUE_UNAVAILABLE */
export async function checkQueue(redisUrl: string): Promise<string> {
  const options = Object.assign({}, externalQueue(redisUrl), {
    lazyConnect: true,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  const client = new Redis(options as never);
  let lastError = '';
  client.on('error', (error: Error) => {
    lastError = error.message;
  });
  try {
    await client.connect();
    const info = await client.info();
    const [, version = ''] = /^redis_version:(\S+)/m.exec(info) ?? [];
    const [, policy = ''] = /^maxmemory_policy:(\S+)/m.exec(info) ?? [];
    if (policy !== '' && policy !== 'noeviction')
      throw new AntipodeError('QUEUE_UNAVAILABLE', `maxmemory-policy is ${policy}, expected noeviction`, {
        details: { policy },
      });
    return `Redis ${version}`;
  } catch (cause) {
    if (cause instanceof AntipodeError) throw cause;
    const reason = lastError || (cause instanceof Error ? cause.message : String(cause));
    throw new AntipodeError('QUEUE_UNAVAILABLE', `Redis at redisUrl does not answer: ${reason}`, {
      cause,
      hint: 'Check address, password and TLS of `redisUrl`. Everything works without a queue, but more slowly.',
    });
  } finally {
    client.disconnect();
  }
}
