/**
 * The process that takes keys natively and encrypts them: `node source.ts <file of the order>`. It captures the source's
 * token as it is, and puts the generation into a store. It reports to its parent what the generation has.
 */
import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { hasCode, systemClock } from '@antipode/runtime';
import { GenerationStore } from '@antipode/site-agent/testing';
import { TestMember } from '../../../support/members.ts';
import type { TestToken } from '../../../support/tokens.ts';

export interface SourceOrder {
  readonly config: TestToken['config'];
  readonly member: Pick<TestMember, 'identity' | 'domainKeys'>;
  readonly group: string;
  readonly domainKeyVersion: number;
  readonly storeFolder: string;
}

const order = deserialize(readFileSync(process.argv[2] ?? '')) as SourceOrder;
process.on('disconnect', () => process.exit(1));

async function capture(): Promise<string[]> {
  const member = new TestMember({ config: order.config } as TestToken);
  member.identity = order.member.identity;
  member.domainKeys.push(...order.member.domainKeys);
  await member.open();
  const group = new SealedGroup(order.group);
  const { domainKeyVersion } = order;
  const captured = async () => group.captured(member, { movement: 'native', domainKeyVersion });
  const sealed = await captured().catch(async (thrown: unknown) => {
    // The worker alone was killed: an agent opens another one.
    if (!hasCode(thrown, 'HSM_WORKER_LOST')) throw thrown;
    await member.open();
    return captured();
  });
  const store = GenerationStore.open(order.storeFolder, { clock: systemClock });
  store.putBlobs(group.blobs.values());
  await store.put(sealed);
  const { generation } = await store.open(sealed.digest);
  const bytes = new Map([...group.blobs].map(([digest, blob]) => [digest, blob.length]));
  store.close();
  await member.provider.close();
  return generation.entries.map(({ objectClass, keyType, attributes, cloningDomain, blobSha256, blobSize }) => {
    const isThere = blobSha256 === undefined || bytes.get(blobSha256) === blobSize;
    const name = Buffer.from(attributes.label ?? []).toString();
    return [objectClass, keyType, name, cloningDomain !== undefined, isThere].join(' ');
  });
}

const entries = await capture().then(
  (found) => ({ entries: found.sort() }),
  (thrown: Error) => ({ failure: String(thrown.stack) }),
);
await new Promise<void>((resolve) => process.send!(entries, () => resolve()));
process.exit(0);
