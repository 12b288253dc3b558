/**
 * Moves the identity of a partition into its `identityPartition` (ADR 0018). No private key moves. Another pair is made
 * there, and the operators of the other sites pin it beside the old one. Then it takes the old one's place. The old
 * pair is destroyed when a domain key has been received under the new one. A person orders each step, and each is safe
 * to repeat.
 */
import {
  fingerprint,
  type HsmProvider,
  hasReceivingKey,
  type IdentityRecord,
  initialiseIdentity,
} from '@antipode/hsm-core';
import { AntipodeError, type Log, systemPrng } from '@antipode/runtime';
import { openForCommand } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import { type Pin, Pins } from '../peers/pins.ts';
import type { FormerIdentity } from '../storage/journal/identities.ts';
import { Journal } from '../storage/journal/journal.ts';
import { partitionSettings, receivesDomainKeys } from './administration.ts';

/**
 * - `made`: the new pair waits to be pinned, and the old one is in use.
 * - `switched`: the new pair is in use, and the old one is still in the token.
 * - `moved`: the new pair is the only one.
 */
export type MovePhase = 'made' | 'switched' | 'moved';

export interface IdentityMove {
  readonly partition: string;
  readonly serial: string;
  readonly phase: MovePhase;
  /** The new one. */
  readonly identitySha256: string;
  readonly hasReceivingKey: boolean;
  readonly pin: Pin;
  /** Reasons to keep the old pair; empty when nothing needs it. */
  readonly waitsFor: readonly string[];
}

export interface MoveOptions {
  readonly config: AgentConfig;
  readonly name: string;
  readonly log: Log;
  /** Fingerprint of the new identity, as every other site has pinned it: the new one is used from then on. */
  readonly confirmed?: string | undefined;
  /** Destroys the old pair; `pinnedAt` are the sites whose operators have said that the new one is pinned there. */
  readonly destroyOld?: boolean;
  readonly pinnedAt?: readonly string[];
}

/** @throws CONFIG_INVALID without an identityPartition, IDENTITY_MISSING, REQUEST_INVALID where a step is not due */
export async function moveIdentity(options: MoveOptions): Promise<IdentityMove> {
  const { config, name, log } = options;
  const settings = partitionSettings(config, name);
  if (settings.identityPartition === undefined)
    throw new AntipodeError(
      'CONFIG_INVALID',
      `partition ${name} has no \`identityPartition\` as the target of the move`,
      {
        details: { partition: name },
        hint: 'Make a token for identity keys alone, name it as `identityPartition` of this partition in agent.yaml, and restart the agent. The agent uses the old key until the move is done.',
      },
    );
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    const known = journal.identities.of(name);
    if (known === undefined)
      throw new AntipodeError('IDENTITY_MISSING', `partition ${name} has not been initialised`, {
        details: { partition: name },
        hint: `Run \`antipode partition init ${name}\`. It makes the identity key in the right token at once.`,
      });
    const provider = await openForCommand(settings, { ...config, serial: known.serial, log });
    try {
      return await step({ ...options, journal, provider, known });
    } finally {
      await provider.close();
    }
  } finally {
    journal.close();
  }
}

interface Open extends MoveOptions {
  readonly journal: Journal;
  readonly provider: HsmProvider;
  readonly known: IdentityRecord;
}

async function step(open: Open): Promise<IdentityMove> {
  const { journal, provider, name, known, confirmed, destroyOld = false } = open;
  const former = journal.identities.former(name).find(({ state }) => state === 'former');
  if (former !== undefined)
    return destroyOld ? finish(open, former) : told(open, known, 'switched', waitsFor(open, former));
  const next = journal.identities.next(name);
  if (destroyOld) throw notDue(open, 'the old identity is still in use');
  if (next !== undefined) {
    await requireElsewhere(provider, next);
    return confirmed === undefined ? told(open, next, 'made') : use(open, next, confirmed);
  }
  if (confirmed !== undefined) throw notDue(open, 'the new identity has not been made yet');
  const own = await provider.findIdentity(known);
  if (own === undefined)
    throw new AntipodeError('IDENTITY_MISSING', 'the identity key in the journal is in neither token', {
      details: { serial: known.serial, identity: fingerprint(known.publicHalf) },
    });
  if (own.isElsewhere === true) return told(open, known, 'moved');
  const made = await initialiseIdentity({
    provider,
    prng: systemPrng,
    announce: (serial, ckaId) => journal.identities.announce(serial, ckaId),
    withReceivingKey: receivesDomainKeys(settingsOf(open)),
    withOfficerKey: settingsOf(open).officerKey ?? false,
  });
  journal.identities.addNext(name, made);
  return told(open, made, 'made');
}

const settingsOf = ({ config, name }: Open) => partitionSettings(config, name);

/** The one that was made before is the one that is pinned by now: another would have to be pinned again. */
async function requireElsewhere(provider: HsmProvider, next: IdentityRecord): Promise<void> {
  if ((await provider.findIdentity(next))?.isElsewhere === true) return;
  throw new AntipodeError('IDENTITY_MISSING', 'the token of identity keys no longer has the new identity key', {
    details: { serial: next.serial, identity: fingerprint(next.publicHalf) },
    hint: 'Check which token `identityPartition` names. The old identity is in use, and nothing is lost.',
  });
}

function use(open: Open, next: IdentityRecord, confirmed: string): IdentityMove {
  const { journal, name, known, log } = open;
  const identity = fingerprint(next.publicHalf);
  if (confirmed.toLowerCase() !== identity)
    throw new AntipodeError('REQUEST_INVALID', `--confirm has ${confirmed}, expected the new identity ${identity}`, {
      details: { partition: name, identity },
      hint: 'Compare the new identity with the pins of every other site, by telephone or on paper. If all are equal, repeat the command with it.',
    });
  const [delivered] = journal.domainKeys.delivered(known.serial);
  if (delivered !== undefined)
    throw notDue(
      open,
      `the trusted key of version ${delivered.version} of group ${delivered.group} was delivered under the old identity and waits for the security officer`,
    );
  const versions: Record<string, number> = {};
  for (const { group, version } of journal.domainKeys.of(known.serial))
    versions[group] = Math.max(versions[group] ?? 0, version);
  journal.identities.switchToNext(name, versions);
  log.info('another identity is in use', { partition: name, identity, former: fingerprint(known.publicHalf) });
  return told(open, next, 'switched', waitsFor(open, { versions }));
}

/** Conditions that are not met yet. When there are none, nothing needs the old pair any more. */
function waitsFor(open: Open, { versions }: Pick<FormerIdentity, 'versions'>): string[] {
  const { journal, known, config, pinnedAt = [] } = open;
  const held = journal.domainKeys.of(known.serial);
  const groups = new Set([
    ...held.map(({ group }) => group),
    ...journal.tenure
      .seats()
      .filter(({ serial }) => serial === known.serial)
      .map(({ group }) => group),
  ]);
  const pins = new Pins(config.pinsFile);
  return [...groups].flatMap((group) => {
    const isFresh = held.some((one) => one.group === group && one.version > (versions[group] ?? 0));
    const sites = new Set(pins.of(group).map(({ site }) => site));
    const waiting = journal.domainKeys
      .delivered(known.serial)
      .filter((one) => one.group === group && one.version <= (versions[group] ?? 0));
    return [
      ...waiting.map(
        ({ version }) =>
          `the security officer must trust version ${version} of group ${group} (antipode partition trust-domain-key)`,
      ),
      ...(isFresh
        ? []
        : [`group ${group} must get a domain key under the new identity (antipode group rotate-domain-key ${group})`]),
      ...[...sites]
        .filter((site) => !pinnedAt.includes(site))
        .map(
          (site) =>
            `you must confirm that site ${site} has pinned the new identity for group ${group} (--pinned-at ${site})`,
        ),
    ];
  });
}

async function finish(open: Open, former: FormerIdentity): Promise<IdentityMove> {
  const { journal, provider, name, known, log } = open;
  const missing = waitsFor(open, former);
  if (missing.length > 0) throw notDue(open, `the old identity cannot be destroyed yet: ${missing.join('; ')}`);
  // The new pair must be there and work, right before the old one is destroyed.
  await requireElsewhere(provider, known);
  await destroyPair(provider, former);
  journal.identities.endFormer(name, former);
  log.info('the old identity has been destroyed', { partition: name, identity: fingerprint(former.publicHalf) });
  return told(open, known, 'moved');
}

/**
 * Destroys a pair in the partition's own token. Each key is found again every time: the signing key by its signature,
 * the others by their hashes in the identity.
 */
async function destroyPair(provider: HsmProvider, former: IdentityRecord): Promise<void> {
  const find = {
    signing: async () => {
      const own = await provider.findIdentity(former);
      if (own?.isElsewhere === true)
        throw new AntipodeError('IDENTITY_MISSING', 'the old identity key is itself in the token of identity keys', {
          details: { serial: former.serial },
        });
      return own === undefined ? [] : [own.handle, ...own.companions];
    },
    receiving: async () => {
      const own = await provider.findReceivingKey({ ckaId: former.ckaId, identity: former.publicHalf });
      return own === undefined ? [] : [own.handle];
    },
    officer: async () => {
      const own = await provider.findOfficerKey({ ckaId: former.ckaId, identity: former.publicHalf });
      return own === undefined ? [] : [own.handle];
    },
  };
  for (const handlesOf of [find.signing, find.receiving, find.officer]) {
    const handles = await handlesOf();
    const read = await provider.read(handles);
    // Proved again after it was read: whatever a handle meant before, it means this.
    const again = new Set(await handlesOf());
    const doomed = handles.flatMap((handle, at) => {
      const object = read[at];
      return object !== undefined && again.has(handle) ? [object] : [];
    });
    await provider.destroy(
      doomed.map(({ handle }) => handle),
      doomed.map(({ readDigest }) => readDigest),
    );
    if ((await handlesOf()).length > 0)
      throw new AntipodeError('HSM_REFUSED', 'the token keeps the old identity', {
        details: { call: 'C_DestroyObject', serial: former.serial },
      });
  }
}

function notDue({ name }: Open, why: string): AntipodeError {
  return new AntipodeError('REQUEST_INVALID', why, {
    details: { partition: name },
    hint: `Run \`antipode partition move-identity ${name}\` without options. It shows the state of the move and the next step.`,
  });
}

function told(
  open: Open,
  { serial, publicHalf }: IdentityRecord,
  phase: MovePhase,
  missing: readonly string[] = [],
): IdentityMove {
  const identity = fingerprint(publicHalf);
  return {
    partition: open.name,
    serial,
    phase,
    identitySha256: identity,
    hasReceivingKey: hasReceivingKey(publicHalf),
    pin: { site: open.config.site, serial, identity, role: settingsOf(open).role },
    waitsFor: missing,
  };
}
