/**
 * Colours of states, at a terminal only. `NO_COLOR` turns them off (no-color.org), and `FORCE_COLOR` turns them on in a
 * pipe. A colour never says more than the word that has it.
 */
const GREEN = 32;
const YELLOW = 33;
const RED = 31;

const COLOURS: Readonly<Record<string, number>> = {
  protected: GREEN,
  up: GREEN,
  leads: GREEN,
  passed: GREEN,
  accepted: GREEN,
  current: GREEN,
  'partially-protected': YELLOW,
  failing: YELLOW,
  lagging: YELLOW,
  late: YELLOW,
  suspect: YELLOW,
  unknown: YELLOW,
  parked: YELLOW,
  ticket: YELLOW,
  damaged: RED,
  held: RED,
  unprotected: RED,
  unserved: RED,
  contradicted: RED,
  unreadable: RED,
  down: RED,
  silent: RED,
  failed: RED,
  page: RED,
};

/** A cell of a table: between the edge of a line or two blanks on each side. */
const CELL = new RegExp(`(^|  )(${Object.keys(COLOURS).join('|')})(?=$|  | \\()`, 'gm');

export const coloured = (text: string): string =>
  text.replaceAll(CELL, (_all, before: string, word: string) => `${before}\u001b[${COLOURS[word]}m${word}\u001b[39m`);

/** As the usual variables say: what is empty is not set. */
export function isColoured(
  { isTTY }: { isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  const { NO_COLOR: no = '', FORCE_COLOR: force = '', TERM: terminal = '' } = environment;
  if (no !== '') return false;
  if (force !== '') return force !== '0' && force !== 'false';
  return isTTY === true && terminal !== 'dumb';
}
