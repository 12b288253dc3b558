/**
 * Finds the object of a partition that an object id stands for, for a person at the site. Elsewhere only ids are shown,
 * since labels never leave the site. It asks the token too, since the id of an uncaptured object comes from what can be
 * read of that object.
 */
import { nameUncaptured, type ObservedObject, openKeyring } from '@antipode/hsm-core';
import { AntipodeError, hex, type Log } from '@antipode/runtime';
import { openForCommand, openSiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import { partitionSettings } from './administration.ts';

export interface FoundObject {
  readonly objectId: string;
  readonly kind: string;
  readonly ckaId: string;
  /** As programs print it; control characters are escaped. */
  readonly label: string;
  readonly where: 'token' | 'generation';
}

/** @throws NOT_FOUND where no object has an id that begins like this, DOMAIN_KEY_MISSING before the group has a key */
export async function findObject(
  config: AgentConfig,
  { name, objectId, log }: { name: string; objectId: string; log: Log },
): Promise<FoundObject[]> {
  const settings = partitionSettings(config, name);
  const memory = openSiteMemory(config);
  try {
    const { journal, store } = memory;
    const identity = journal.identities.of(name);
    const seat = journal.tenure.seats().find(({ serial }) => serial === identity?.serial);
    if (identity === undefined || seat === undefined)
      throw new AntipodeError('NOT_FOUND', `partition ${name} has no seat in a group`, {
        details: { partition: name },
      });
    const provider = await openForCommand(settings, { ...config, serial: identity.serial, log });
    try {
      const keyring = await openKeyring({
        provider,
        identity,
        domainKeys: journal.domainKeys.of(identity.serial),
        announced: journal.identities.announced(identity.serial),
      });
      const [newest] = keyring.domainKeys(seat.group);
      if (newest === undefined)
        throw new AntipodeError('DOMAIN_KEY_MISSING', `group ${seat.group} has no domain key in this partition`, {
          details: { group: seat.group },
        });
      const objects = (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
      const named = await nameUncaptured(
        objects.map((object) => ({ object, reason: 'unreadable', objectId: undefined })),
        (values) => provider.tagBytes(newest.handle, values),
      );
      const inToken = objects.map((object, index) => found(named[index]!.objectId, object, 'token'));
      const digests = (['captured', 'applied', 'staged'] as const).flatMap(
        (kind) => journal.heads.of(seat.group, kind) ?? [],
      );
      const captured: FoundObject[] = [];
      for (const digest of new Set(digests)) {
        if (!(await store.isSound(digest))) continue;
        const { entries, tombstones } = (await store.open(digest)).generation;
        for (const entry of [...entries, ...tombstones.map((tombstone) => tombstone.entry)])
          captured.push(found(entry.objectId, entry, 'generation'));
      }
      const wanted = objectId.toLowerCase();
      const matching = [...captured, ...inToken].filter((one) => one.objectId.startsWith(wanted));
      const unique = [...new Map(matching.map((one) => [`${one.objectId} ${one.ckaId} ${one.label}`, one])).values()];
      if (unique.length > 0) return unique;
      throw new AntipodeError('NOT_FOUND', `no object of partition ${name} has an id that begins with ${wanted}`, {
        details: { partition: name, object: wanted },
        hint: 'Copy the id from `antipode group show <group>`. If the object was changed or deleted since then, run `antipode replicate <group>` and copy its new id.',
      });
    } finally {
      await provider.close();
    }
  } finally {
    memory.close();
  }
}

function found(
  objectId: string,
  { objectClass, keyType, attributes }: Pick<ObservedObject, 'objectClass' | 'keyType' | 'attributes'>,
  where: FoundObject['where'],
): FoundObject {
  const { id, label } = attributes;
  const bytes = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : new Uint8Array());
  return {
    objectId,
    kind: keyType === undefined ? objectClass : `${objectClass} ${keyType}`,
    ckaId: hex(bytes(id)),
    label: typeof label === 'string' ? printable(label) : printable(Buffer.from(bytes(label)).toString('utf8')),
    where,
  };
}

/** Escapes control characters: text from a token may contain anything, even commands to a terminal. */
export const printable = (text: string): string =>
  text.replace(/[\p{C}\\]/gu, (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`);
