/**
 * Names that people give: of sites, coordinators, operators, groups, and partitions within a site. One form for all, since
 * the same name is in a certificate, in a configuration, on a command line and in the database. Addresses have theirs in
 * `@antipode/runtime`, where the health endpoints need them too.
 */

/** The source of a pattern, for what has a name inside. */
export const NAME = '[a-z0-9][a-z0-9-]{0,62}';
const WHOLE = new RegExp(`^${NAME}$`);
export const NAME_EXPECTED = 'expected lower-case letters, digits and dashes';

export const isName = (text: string): boolean => WHOLE.test(text);

/** As tokens report it, and as people tell it each other in `SITE=SERIAL`: no equals sign, nothing that does not show. */
const SERIAL = /^[^=\p{C}]{1,64}$/u;
export const SERIAL_EXPECTED = 'expected the serial number of a token';

export const isSerial = (text: string): boolean => SERIAL.test(text);

/** A partition by its place. */
export interface Seat {
  readonly site: string;
  readonly serial: string;
}

/** `SITE=SERIAL`; undefined where the text is none. */
export function parseSeat(text: string): Seat | undefined {
  const [site = '', serial = '', ...more] = text.split('=');
  return isName(site) && isSerial(serial) && more.length === 0 ? { site, serial } : undefined;
}
