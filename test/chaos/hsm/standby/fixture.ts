/**
 * The starting point of every kill, made once: a source with a few keys of every kind, and four generations of it. The
 * standby has acknowledged the first generation. It also holds objects of other applications, some of which look like
 * ours.
 */
import type { KeyObject } from 'node:crypto';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { systemClock } from '@antipode/runtime';
import type { PartitionSettings } from '@antipode/site-agent/testing';
import { GenerationStore, Journal } from '@antipode/site-agent/testing';
import { enrolTogether, TestMember } from '../../../support/members.ts';
import { CloningDomain, cloning, paired } from '../../../support/softhsm-pair.ts';
import { makeToken, SOFTHSM_MODULE, type TestToken } from '../../../support/tokens.ts';
import type { Knowledge, Permanent } from '../judge/judge.ts';
import { type Seen, type TokenPlace, TokenReader } from '../judge/token-reader.ts';
import { makeForeignObjects } from '../objects/foreign-objects.ts';
import { CHANGES, SourceObjects } from '../objects/source-objects.ts';
import type { Movement } from '../options.ts';
import { replaceFolder, type Workspace } from '../workspace.ts';
import { type PointOrder, pointsEnvironment } from './kill.ts';
import type { Order } from './standby.ts';
import { live } from './standby-process.ts';

export const EPOCH = 1;
/** Of the standby's token, and of its partition. */
export const STANDBY = 'standby';

/** Folders of a token and of the agent's data, nobody at work on them. */
export interface Standing {
  readonly tokens: string;
  readonly data: string;
}

export interface Fixture extends Knowledge {
  readonly group: string;
  readonly sealed: readonly SealedGeneration[];
  readonly publicKeys: readonly KeyObject[];
  readonly compileCache: string;
  readonly pinFile: string;
  readonly movement: Movement;
  readonly start: Standing;
  readonly source: Order['source'];
  /** Where keys move natively: the beginning of a capture, and of an enrolment. */
  readonly native?: NativeStart;
}

export interface NativeStart {
  readonly source: TokenPlace;
  readonly config: TestToken['config'];
  readonly member: Pick<TestMember, 'identity' | 'domainKeys'>;
  /** Of the source, and the folder of its token. */
  readonly tokens: string;
  readonly sourcePath: string;
  /** A token with objects of applications and a token key of its own. */
  readonly newcomer: { readonly label: string; readonly serial: string };
  readonly unshared: string;
}

export async function makeFixture(workspace: Workspace, movement: Movement): Promise<Fixture> {
  const reader = new TokenReader();
  const objects = new SourceObjects(movement);
  const tokens = ['source', STANDBY].map((label) => makeToken(label, { folder: workspace.folder(label) }));
  if (movement === 'native') await new CloningDomain(paired(tokens[0]!)).join(paired(tokens[1]!));
  const [source, standby] = (await Promise.all(
    tokens.map((token) => TestMember.on(movement === 'native' ? cloning(token) : token)),
  )) as [TestMember, TestMember];
  const group = new SealedGroup();
  for (const version of [1, 2]) await enrolTogether([source, standby], { group: group.name, version });
  const look = (token: TestToken): Seen[] => reader.read(placeOf(token), objects.publicKeys);
  const own = { source: look(source.token), standby: look(standby.token) };

  const sealed: SealedGeneration[] = [];
  const generations: (readonly Seen[])[] = [];
  for (const [index, change] of CHANGES.entries()) {
    reader.change(placeOf(source.token), (cryptoki, session) => change(objects.within(cryptoki, session)));
    sealed.push(await group.captured(source, { domainKeyVersion: index < 2 ? 1 : 2, movement }));
    generations.push(without(look(source.token), own.source));
  }
  await Promise.all([source, standby].map(({ provider }) => provider.close()));
  objects.check(generations.flat());

  const native = movement === 'native' ? nativeStart(source, { workspace, reader, objects }) : undefined;
  const dataFolder = workspace.folder('data');
  const journal = Journal.open(dataFolder);
  journal.identities.announce(standby.serial, standby.identity.ckaId);
  journal.identities.add(STANDBY, standby.identity);
  for (const record of standby.domainKeys) journal.domainKeys.add(standby.serial, record);
  journal.tenure.raise(group.name, { epoch: BigInt(EPOCH), owner: 'source' });
  journal.tenure.setSeat(group.name, standby.serial, 'standby');
  journal.close();
  const storeFolder = workspace.folder('source-store');
  const store = GenerationStore.open(storeFolder, { clock: systemClock });
  store.putBlobs(group.blobs.values());
  for (const one of sealed) await store.put(one);
  store.close();
  const from = { storeFolder, serial: source.serial, identity: source.fingerprint };

  const compileCache = workspace.folder('compile-cache');
  const { pinFile } = standby.token.config;
  const settings = settingsOf({ configFile: placeOf(standby.token).configFile, pinFile, compileCache, movement });
  const order = {
    ...{ dataFolder, settings, group: group.name, epoch: EPOCH, digest: sealed[0]!.digest },
    ...{ source: from, mark: '' },
  };
  const first = await live({ ...order, kill: { at: 'never' } }, { compileCache });
  if (first.ended !== 'acknowledged')
    throw new Error(`the first generation is not acknowledged: ${JSON.stringify(first)}`);
  makeForeignObjects(standby.token, (work) => reader.change(placeOf(standby.token), work), objects);
  const permanent = without(look(standby.token), generations[0]!).map(
    (seen): Permanent => ({ seen, isOurs: own.standby.some(({ raw }) => raw === seen.raw) }),
  );
  const start = { tokens: workspace.folder('start/tokens'), data: workspace.folder('start/data') };
  replaceFolder(start.tokens, join(standby.token.folder, 'tokens'));
  cpSync(dataFolder, start.data, { recursive: true });
  return {
    generations,
    permanent,
    group: group.name,
    sealed,
    publicKeys: objects.publicKeys,
    compileCache,
    pinFile,
    movement,
    start,
    source: from,
    ...(native === undefined ? {} : { native }),
  };
}

function nativeStart(
  source: TestMember,
  { workspace, reader, objects }: { workspace: Workspace; reader: TokenReader; objects: SourceObjects },
): NativeStart {
  const label = 'newcomer';
  const newcomer = makeToken(label, { folder: workspace.folder(label) });
  makeForeignObjects(newcomer, (work) => reader.change(placeOf(newcomer), work), objects);
  return {
    source: placeOf(source.token),
    config: source.token.config,
    member: source,
    tokens: join(source.token.folder, 'tokens'),
    sourcePath: paired(source.token).path,
    newcomer: { label, serial: paired(newcomer).serial },
    unshared: join(newcomer.folder, 'tokens'),
  };
}

export function settingsOf(options: {
  configFile: string;
  pinFile: string;
  compileCache: string;
  movement: Movement;
  /** Of the HSM worker. */
  points?: PointOrder | undefined;
}): PartitionSettings {
  const { configFile, pinFile, compileCache, movement, points } = options;
  return {
    name: STANDBY,
    module: SOFTHSM_MODULE,
    tokenLabel: STANDBY,
    pinFile,
    environment: {
      ...{ SOFTHSM2_CONF: configFile, NODE_COMPILE_CACHE: compileCache },
      ...(points === undefined ? {} : pointsEnvironment(points)),
    },
    role: 'member',
    ...(movement === 'native' ? { native: { kind: 'softhsm' } as const } : {}),
  };
}

const placeOf = ({ label, environment }: TestToken): TokenPlace => ({ label, configFile: environment.SOFTHSM2_CONF });

const without = (all: readonly Seen[], others: readonly Seen[]): Seen[] => {
  const left = [...others];
  return all.filter((one) => {
    const index = left.findIndex(
      ({ objectClass, fingerprint, form }) =>
        objectClass === one.objectClass && fingerprint === one.fingerprint && form === one.form,
    );
    if (index !== -1) left.splice(index, 1);
    return index === -1;
  });
};
