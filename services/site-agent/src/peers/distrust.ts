/**
 * Takes back the trust in partitions of another site. The plan says what follows before anything is changed. It goes by
 * this site's own pins, journal and store, and asks nobody. The agent reads the pins for every decision, so that a change
 * counts at once.
 */
import type { SealedGeneration } from '@antipode/hsm-core';
import { openSiteMemory, type SiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import { newestSealed } from '../objects/sealed-objects.ts';
import type { Seat } from '../storage/journal/tenure.ts';
import type { Card } from './card.ts';
import { type Pin, Pins } from './pins.ts';

/** Partitions of one site: all of them, or those that are named. */
export interface Distrusted {
  readonly site: string;
  /** Those of a card. A partition is meant by its serial number, whichever identity it has by now. */
  readonly card?: Card;
  readonly serials?: readonly string[];
  readonly group?: string;
}

export interface GroupDistrust {
  readonly group: string;
  /** The pins that go. */
  readonly pins: readonly Pin[];
  /** Whether generations of the group pass between the two sites until now, and do not any more. */
  readonly losesReplication: boolean;
  /** For people, one sentence or two each. */
  readonly consequences: readonly string[];
}

type Place = Pick<AgentConfig, 'site' | 'dataFolder' | 'pinsFile'>;

/**
 * The pins that would go, group by group. Empty where nothing of it is trusted.
 * @throws CONFIG_INVALID, FILE_BUSY, FILE_DAMAGED
 */
export async function planDistrust(config: Place, distrusted: Distrusted): Promise<GroupDistrust[]> {
  const all = new Pins(config.pinsFile).read();
  const memory = openSiteMemory(config);
  try {
    const plans: GroupDistrust[] = [];
    for (const [group, pins] of Object.entries(all)) {
      const going = pins.filter((pin) => isMeant(distrusted, group, pin));
      if (going.length === 0) continue;
      const staying = pins.filter((pin) => !going.includes(pin));
      plans.push({ group, pins: going, ...(await consequencesOf(config, memory, { group, going, staying })) });
    }
    return plans;
  } finally {
    memory.close();
  }
}

/** Safe to repeat. Returns how many pins it has taken out. @throws CONFIG_INVALID, FILE_UNWRITABLE */
export function distrustPartitions({ pinsFile }: Pick<AgentConfig, 'pinsFile'>, distrusted: Distrusted): number {
  return new Pins(pinsFile).remove((group, pin) => isMeant(distrusted, group, pin));
}

function isMeant({ site, card, serials, group: only }: Distrusted, group: string, pin: Pin): boolean {
  if (pin.site !== site || (only !== undefined && only !== group)) return false;
  if (serials !== undefined && !serials.includes(pin.serial)) return false;
  return (
    card === undefined || card.pins.some(({ serial, identity }) => serial === pin.serial || identity === pin.identity)
  );
}

async function consequencesOf(
  config: Place,
  memory: SiteMemory,
  { group, going, staying }: { group: string; going: readonly Pin[]; staying: readonly Pin[] },
): Promise<Pick<GroupDistrust, 'losesReplication' | 'consequences'>> {
  const { journal } = memory;
  const [{ site }] = going as [Pin];
  const seat = journal.tenure.seat(group);
  const owner = journal.tenure.fence(group)?.owner;
  const losesMember = going.some(({ role }) => role === 'member');
  const losesReplication = losesMember && seat !== undefined && (owner === site || owner === config.site);
  return {
    losesReplication,
    consequences: [
      ...going.map((pin) => textOf(pin, group)),
      ...(losesReplication ? [replicationText({ group, site, isActive: owner === site })] : []),
      ...(staying.some((pin) => pin.site === site && pin.role !== 'distributor') ||
      going.every(({ role }) => role === 'distributor')
        ? []
        : [`This site gives site ${site} no generation and no sealed object of group ${group} any more.`]),
      ...(going.some(({ role }) => role === 'distributor') && !staying.some(({ role }) => role === 'distributor')
        ? [
            `This site then trusts no distributor for group ${group}: it takes domain keys from the members that it trusts.`,
          ]
        : []),
      ...(await signedText(memory, { group, seat, going })),
    ],
  };
}

function textOf({ site, serial, role }: Pin, group: string): string {
  const what = `partition ${serial} of site ${site}`;
  switch (role) {
    case 'member':
      return `This site takes no generation and no domain key of group ${group} from ${what} any more, and gives it none.`;
    case 'scratch':
      return `This site gives scratch ${what} no domain key of group ${group} any more.`;
    case 'distributor':
      return `This site takes no domain key of group ${group} from distributor ${what} any more.`;
  }
}

const replicationText = ({ group, site, isActive }: { group: string; site: string; isActive: boolean }): string =>
  isActive
    ? `Group ${group} loses its replication here: site ${site} is its active member, and this site gets no later generation. Remove this site from the group, or move the group to a site that is trusted here.`
    : `Group ${group} loses its replication at site ${site}: this site is its active member. The next version of the domain key does not come into use before site ${site} is removed (\`antipode group remove-member ${group} ${site}\`).`;

/** A signature counts only while its identity is pinned. */
async function signedText(
  memory: SiteMemory,
  { group, seat, going }: { group: string; seat: Seat | undefined; going: readonly Pin[] },
): Promise<string[]> {
  const newest = seat === undefined ? undefined : await newestSealed(memory, seat).catch(() => undefined);
  if (newest === undefined || !isSignedBy(newest, going)) return [];
  const { number } = newest.generation;
  return [
    `Generation ${number} of group ${group}, the newest here, is signed by it. If this site loses it, it takes that generation from no other site again.`,
  ];
}

const isSignedBy = ({ signerSha256 }: SealedGeneration, pins: readonly Pin[]): boolean =>
  pins.some(({ identity }) => identity === signerSha256);
