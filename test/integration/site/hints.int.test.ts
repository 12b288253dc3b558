/**
 * The hints for a tired operator, on real tokens and folders. They come from the place that knows, and never suggest
 * anything dangerous.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPartition } from '@antipode/hsm-core';
import { lockFolder, silentLog, systemClock } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { type AgentConfig, agentConfigSchema, initialisePartition, showIdentity } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { makeToken, type TestToken } from '../../support/tokens.ts';

let token: TestToken;
let config: AgentConfig;

beforeEach(() => {
  token = makeToken('hints');
  const { module, tokenLabel, pinFile } = token.config;
  config = agentConfigSchema.parse({
    site: 'a',
    listen: '127.0.0.1:0',
    coordinator: { id: 'main', address: '127.0.0.1:1' },
    tls: { ca: 'none', certificate: 'none', key: 'none' },
    dataFolder: join(token.folder, 'data'),
    partitions: [{ name: 'main', module, tokenLabel, pinFile, environment: { ...token.environment } }],
  });
});

afterEach(() => token.remove());

const initialise = (replaceLost = false) => initialisePartition({ config, name: 'main', log: silentLog, replaceLost });

describe('an identity key', () => {
  it('that was never made is to be made, and one that was lost is never made over it by the same command', async () => {
    expect(thrown(() => showIdentity(config, 'main'))).toMatchObject({
      code: 'IDENTITY_MISSING',
      hint: expect.stringContaining('antipode partition init main'),
    });
    const first = await initialise();
    for (const type of ['privkey', 'pubkey'])
      try {
        token.tool('--delete-object', '--type', type, '--label', 'antipode identity');
      } catch {
        // Not every half lies in the token.
      }
    for (let start = 0; start < 2; start += 1)
      expect(await rejection(initialise())).toMatchObject({
        code: 'IDENTITY_MISSING',
        hint: expect.stringContaining('--replace-lost-identity'),
      });
    const seat = { group: 'payments', serial: first.serial };
    const journal = Journal.open(config.dataFolder);
    journal.tenure.setSeat(seat.group, seat.serial, 'standby');
    journal.heads.set(seat, 'applied', 'aa');
    const second = await initialise(true);
    // The token may have been initialised again: the records of its objects count when they are proved again.
    expect([journal.heads.of(seat, 'applied'), journal.heads.hasLeft(seat)]).toEqual(['aa', true]);
    journal.close();
    expect(second).toMatchObject({ isNew: true, serial: first.serial });
    expect(second.identitySha256).not.toBe(first.identitySha256);
    // One signing key and one receiving key: of the lost identity nothing is left.
    expect(token.tool('--list-objects').match(/label: +antipode/g)).toHaveLength(2);
    expect(showIdentity(config, 'main').identitySha256).toBe(second.identitySha256);
  });

  it('that works is not replaced, whatever is asked', async () => {
    const first = await initialise();
    expect(await initialise(true)).toMatchObject({ isNew: false, identitySha256: first.identitySha256 });
  });
});

describe('a token that is not found', () => {
  const open = (change: object) =>
    rejection(openPartition({ ...token.config, ...change }, { log: silentLog, clock: systemClock }));

  it('among others is looked for by its label', async () => {
    expect(await open({ tokenLabel: 'elsewhere' })).toMatchObject({
      code: 'PARTITION_NOT_FOUND',
      hint: expect.stringContaining('shows other tokens only'),
    });
  });

  it('where the module shows none at all points to the HSM and its link', async () => {
    const empty = join(token.folder, 'empty.conf');
    mkdirSync(join(token.folder, 'no-tokens'));
    writeFileSync(empty, `directories.tokendir = ${join(token.folder, 'no-tokens')}\n`);
    expect(await open({ environment: { SOFTHSM2_CONF: empty } })).toMatchObject({
      code: 'PARTITION_NOT_FOUND',
      hint: expect.stringContaining('Check the HSM, the link to it'),
    });
  });

  it('under its serial, and whose label another has, was initialised again', async () => {
    expect(await open({ serial: '0123456789abcdef' })).toMatchObject({
      code: 'PARTITION_NOT_FOUND',
      hint: expect.stringContaining('initialised again'),
    });
  });
});

it('the hint to a second agent on a folder is to leave it alone, not to remove anything', async () => {
  const lock = lockFolder(config.dataFolder, { program: 'agent' });
  const error = thrown(() => lockFolder(config.dataFolder, { program: 'agent' }));
  expect(error.code).toBe('FILE_EXISTS');
  expect(error.hint).toContain('Remove nothing');
  await lock.close();
  rmSync(config.dataFolder, { recursive: true });
});
