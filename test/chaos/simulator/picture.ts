/** The whole state of a world at one moment, one line for each fact, so that two moments can be compared. */
import { keyValueOf } from './key-values.ts';
import { GROUP, type World } from './world.ts';

/** Tables whose rows say nothing that a person looks for. */
const LEFT_OUT = new Set(['run', 'print', 'sqlite_sequence', 'event', 'schedule_fire']);
const TEXT_MAX = 160;

export function picture(world: World): string[] {
  const lines: string[] = [];
  for (const { name, process, isOff, disk, member, machine, site, isWitness } of world.sites.values()) {
    const fact = (what: string): void => void lines.push(`site ${name}: ${what}`);
    fact(isOff ? 'without power' : process.state);
    fact(`clock rate ${machine.rate}, wall clock set by ${machine.wallOffsetMs} ms`);
    if (disk.fault !== undefined) fact(`disk ${disk.fault}`);
    if (!process.hasEnded) {
      const fence = site.journal.tenure.fence(GROUP);
      const leaseMs = site.leases.remainingMs(GROUP, fence?.epoch ?? 0n);
      fact(leaseMs > 0 ? 'holds a lease' : 'holds no lease');
    }
    for (const table of tablesOf(disk.rows('journal', "SELECT name FROM sqlite_master WHERE type = 'table'")))
      for (const row of disk.rows('journal', `SELECT * FROM ${table}`)) fact(`journal ${table} ${textOf(row)}`);
    for (const row of disk.rows('store', 'SELECT epoch, number, lower(hex(digest)) AS digest FROM manifest'))
      fact(`store manifest ${textOf(row)}`);
    for (const object of isWitness ? [] : member.hsm.objects) {
      const label = Buffer.from(object.attributes.label ?? []).toString();
      fact(`token ${object.objectClass} "${label}" ${keyValueOf(object)?.slice(-12) ?? ''}`);
    }
  }
  for (const { name, process, graph } of world.coordinators.values()) {
    const epoch = process.hasEnded ? undefined : graph?.leadership.epoch;
    lines.push(`coordinator ${name}: ${process.state}${epoch === undefined ? '' : `, leads in epoch ${epoch}`}`);
  }
  for (const table of tablesOf(world.database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")))
    for (const row of world.database.rows(`SELECT * FROM ${table}`)) lines.push(`database: ${table} ${textOf(row)}`);
  return lines;
}

const tablesOf = (rows: readonly Record<string, unknown>[]): string[] =>
  rows.map(({ name }) => String(name)).filter((name) => !LEFT_OUT.has(name));

function textOf(row: Record<string, unknown>): string {
  const text = Object.entries(row).map(
    ([column, value]) =>
      `${column}=${value instanceof Uint8Array ? Buffer.from(value).toString('hex').slice(0, 24) : String(value)}`,
  );
  return text.join(' ').slice(0, TEXT_MAX);
}
