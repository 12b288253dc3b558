import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RevocationBook, type Tls } from '@antipode/protocol';
import { Log, temporaryBase } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { afterAll, expect, it } from 'vitest';
import type { Link } from './link.ts';
import { RevocationExchange } from './revocation-exchange.ts';

const folder = mkdtempSync(join(temporaryBase(), 'revocation-exchange-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('goes on while the file of the list is damaged, and says so once', async () => {
  const file = join(folder, 'revocations.json');
  const book = new RevocationBook({ file, trustDomain: 'test.example', rules: undefined });
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', write: (line) => void lines.push(line) });
  const asked: number[] = [];
  const exchange = new RevocationExchange({
    book,
    log,
    tls: { ownRefusal: () => undefined } as Partial<Tls> as Tls,
    clock: new FakeClock(),
    link: {} as Link,
    coordinators: [],
    members: () => {
      asked.push(1);
      return [];
    },
  });
  writeFileSync(file, '{ half');
  await exchange.pass(new AbortController().signal);
  await exchange.pass(new AbortController().signal);
  expect(asked).toHaveLength(2);
  expect(lines).toEqual([expect.stringContaining('the file of revoked certificates cannot be read')]);
});
