/** One text for one value, so that it can be signed and compared. */
import { hex } from './bytes.ts';

/** JSON with sorted keys and no white space (RFC 8785 for the values used here: strings, integers, booleans, lists). */
export function canonicalJson(value: unknown): string {
  if (value instanceof Uint8Array) return JSON.stringify(hex(value));
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
}
