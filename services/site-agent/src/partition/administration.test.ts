import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { sha256Hex } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type AgentConfig, agentConfigSchema } from '../config.ts';
import { Journal } from '../storage/journal/journal.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { partitionSettings, pinPartitions, showIdentity } from './administration.ts';

let folder: string;
let config: AgentConfig;

beforeEach(() => {
  folder = temporaryFolder();
  config = agentConfigSchema.parse({
    site: 'a',
    listen: 'a:1',
    coordinators: [{ id: 'main', address: 'b:1' }],
    tls: { ca: 'ca', certificate: 'certificate', key: 'key' },
    dataFolder: folder,
    pinsFile: join(folder, 'pins.yaml'),
    partitions: [{ name: 'main', module: 'm', tokenLabel: 't', pinFile: 'p' }],
  });
});

afterEach(() => rmSync(folder, { recursive: true }));

it('finds a partition by its name, and says NOT_FOUND of any other', () => {
  expect(partitionSettings(config, 'main').tokenLabel).toBe('t');
  expect(thrown(() => partitionSettings(config, 'other'))).toMatchObject({
    code: 'NOT_FOUND',
    details: { partition: 'other' },
  });
});

it('shows the identity that the journal knows, and IDENTITY_MISSING before there is one', () => {
  expect(thrown(() => showIdentity(config, 'main'))).toMatchObject({
    code: 'IDENTITY_MISSING',
    details: { partition: 'main' },
  });
  const journal = Journal.open(folder);
  journal.identities.add('main', { serial: 's1', ckaId: new Uint8Array(16), publicHalf: Buffer.from('half') });
  journal.close();
  expect(showIdentity(config, 'main')).toEqual({
    partition: 'main',
    serial: 's1',
    identitySha256: sha256Hex('half'),
    isNew: false,
    hasReceivingKey: false,
    hasOfficerKey: false,
    pin: { site: 'a', serial: 's1', identity: sha256Hex('half'), role: 'member' },
  });
});

it('pins a distributor of its own too: it serves some groups of its site and not others', () => {
  const pin = { site: 'a', serial: 's9', identity: '91'.repeat(32), role: 'distributor' } as const;
  expect(pinPartitions({ config, group: 'payments', pins: [pin] })).toBe(1);
});

it('pins partitions of other sites, once, and none of its own', () => {
  const pins = ['a', 'b'].map((site, at) => ({
    site,
    serial: `s${at}`,
    identity: `${at}1`.repeat(32),
    role: 'member' as const,
  }));
  const pin = () => pinPartitions({ config, group: 'payments', pins });
  expect([pin(), pin()]).toEqual([1, 0]);
});
