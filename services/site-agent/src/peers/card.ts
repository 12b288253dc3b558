/**
 * Cards: the identities of one site in a file, for the operators of the others, and the short code by which two people
 * compare a card.
 *
 * A card crosses a network that is not trusted. The code does not: one operator reads it aloud, the other types it. It has
 * 80 bits of a slow hash (scrypt) over everything that is trusted. Somebody who replaces a card must find identity keys of
 * his own whose card has the same code. This second preimage takes some 2^80 tries, and each try makes a key and fills
 * 32 MiB. He has no influence on the honest card, so he cannot look for two cards with one code, which would
 * cost 2^40. That is why the code covers one card and not the cards of both sites: a code of both would let him choose one
 * card towards each of them. A fixed value of this length needs no exchange of commitments before.
 */
import { scryptSync } from 'node:crypto';
import { isName, isSerial, NAME_EXPECTED, SERIAL_EXPECTED } from '@antipode/protocol';
import { AntipodeError, loadConfig } from '@antipode/runtime';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Pin } from './pins.ts';

const VERSION = 1;
const PARTITIONS_MAX = 64;

const cardSchema = z.strictObject({
  card: z.literal(VERSION),
  site: z.string().refine(isName, NAME_EXPECTED),
  partitions: z
    .array(
      z.strictObject({
        serial: z.string().refine(isSerial, SERIAL_EXPECTED),
        identity: z.string().regex(/^[0-9a-f]{64}$/, 'expected the SHA-256 of an identity key, 64 hexadecimal digits'),
        role: z.enum(['member', 'scratch', 'distributor']),
      }),
    )
    .min(1)
    .max(PARTITIONS_MAX),
});

export interface Card {
  readonly site: string;
  readonly pins: readonly Pin[];
}

/** The text of a card. */
export const cardText = ({ site, pins }: Card): string =>
  `# Identities of site ${site}. Compare its code by telephone: antipode peer trust GROUP --file FILE\n${stringify({
    card: VERSION,
    site,
    partitions: pins.map(({ serial, identity, role }) => ({ serial, identity, role })),
  })}`;

/** @throws CONFIG_INVALID */
export function loadCard(path: string): Card {
  const { site, partitions } = loadConfig(path, cardSchema);
  return { site, pins: partitions.map((partition) => ({ ...partition, site })) };
}

/** Crockford's digits: none of them is taken for another, on paper or by telephone. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CODE_BYTES = 10;
const GROUP_DIGITS = 4;
/** Makes each try of an attacker cost 32 MiB and some 100 ms. */
const SLOW = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const DOMAIN = 'antipode identity card v1';

/** `7K3M-9XQ2-B0VD-4TTE`: the same for equal cards, in whatever order their partitions are. */
export function codeOf({ site, pins }: Card): string {
  const parts = pins.map(({ serial, identity, role }) => JSON.stringify([serial, identity, role])).sort();
  const bytes = scryptSync(JSON.stringify([site, parts]), DOMAIN, CODE_BYTES, SLOW);
  let bits = BigInt(`0x${bytes.toString('hex')}`);
  let digits = '';
  for (let count = 0; count < (CODE_BYTES * 8) / 5; count += 1) {
    digits = DIGITS[Number(bits & 31n)]! + digits;
    bits >>= 5n;
  }
  return digits.match(new RegExp(`.{${GROUP_DIGITS}}`, 'g'))!.join('-');
}

/** As people type it: in any case, with or without dashes, O for 0, and I or L for 1. */
const typed = (text: string): string =>
  text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');

/** @throws PEER_NOT_PINNED where the card is not the one whose code was read aloud */
export function checkCode(card: Card, given: string): void {
  if (typed(given) === typed(codeOf(card))) return;
  throw new AntipodeError('PEER_NOT_PINNED', `the code does not belong to this card of site ${card.site}`, {
    details: { site: card.site },
    hint: `Have the operator of site ${card.site} run \`antipode peer card\` there again and read the code aloud. If it still differs, somebody has replaced the file: do not trust it.`,
  });
}
