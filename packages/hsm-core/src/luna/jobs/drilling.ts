/**
 * A drill from a vault: restores a backup into a scratch partition, lets its keys be proved by use, and clears the
 * partition again. A partition is cleared only while it has nothing but objects that a drill has put there.
 */
import { AntipodeError, sha256Hex } from '@antipode/runtime';
import { type ApprovedOrder, requireApproval } from '../approvals.ts';
import { withDevice } from '../device-lock.ts';
import { DrillRegister } from '../drill-register.ts';
import type { MoveReport } from '../move-report.ts';
import type { ListedObject } from '../parse/contents.ts';
import { requireFit } from './comparing.ts';
import { clear, type DestroyReport } from './destroying.ts';
import type { JobPorts } from './job-ports.ts';
import { lookAtVault } from './keeping.ts';
import { type PartitionAccess, restore } from './moving.ts';
import { type ArchiveSource, archiveObjects, orUnlisted, partitionObjects } from './reading.ts';

export interface DrillOrder {
  readonly from: ArchiveSource;
  /** It must be empty, or have only what an earlier drill left. */
  readonly scratch: PartitionAccess;
  /**
   * Uses every key in the scratch partition, through PKCS#11. Called once the restore is complete.
   * @throws what makes the drill fail. The partition is cleared all the same
   */
  readonly prove: (objects: readonly ListedObject[]) => Promise<void>;
}

export interface DrillReport {
  /** `proved` only where the restore was complete and every key was used. */
  readonly verdict: 'proved' | 'not restored' | 'not proved';
  readonly restored: MoveReport;
  /** The failure of the proof; undefined if there was none, or nothing was proved. */
  readonly failure: unknown;
  /** Undefined where the partition was left as it is: it has objects that no drill has put there, or nobody could list it. */
  readonly cleared: DestroyReport | undefined;
}

/** @throws LUNA_NOT_APPROVED, LUNA_BUSY, LUNA_REFUSED, and what stops it before anything is changed */
export function drillVault(
  order: DrillOrder,
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<DrillReport> {
  const { from, scratch } = order;
  const approved: ApprovedOrder = { action: 'clear', target: scratch.address };
  requireApproval(approved, approvals);
  return withDevice(from.vault.serial, ports, () =>
    withDevice(scratch.address.serial, ports, () => drill(order, approved, ports)),
  );
}

async function drill(
  { from, scratch, prove }: DrillOrder,
  approved: ApprovedOrder,
  ports: JobPorts,
): Promise<DrillReport> {
  const register = new DrillRegister({ folder: ports.stateFolder, serial: scratch.address.serial });
  const list = async (): Promise<readonly ListedObject[]> =>
    (await partitionObjects(scratch.address, scratch.login, ports)).objects;
  const isOurs = (objects: readonly ListedObject[]): boolean => isWithin(objects, register.read());
  const { vault, partition } = from;
  await lookAtVault(vault, ports);
  await requireFit({ move: 'restore', from: vault, to: scratch.address, archive: partition }, ports);
  const expected = await archiveObjects(from, ports);
  const found = await list();
  if (found.length > 0) {
    if (!isOurs(found))
      throw new AntipodeError('LUNA_REFUSED', 'the scratch partition has objects that no drill has put there', {
        details: { serial: scratch.address.serial, objects: found.length },
        hint: 'Name an empty partition, or clear this one by hand if nobody needs its objects. Nothing was changed.',
      });
    const { verdict } = await clear(scratch, [approved], ports);
    if (verdict !== 'gone')
      throw new AntipodeError('LUNA_OUTCOME_UNKNOWN', 'objects of an earlier drill could not be cleared', {
        details: { serial: scratch.address.serial },
      });
  }
  register.begin(expected.map(markOf));
  const restored = await restore({ from, target: scratch }, ports);
  let failure: unknown;
  let isProved = false;
  if (restored.verdict === 'complete')
    try {
      await prove(expected);
      isProved = true;
    } catch (cause) {
      failure = cause;
    }
  const left = await orUnlisted(list());
  const cleared = left !== undefined && isOurs(left) ? await clear(scratch, [approved], ports) : undefined;
  if (cleared?.verdict === 'gone') register.end();
  const verdict = isProved ? 'proved' : restored.verdict === 'complete' ? 'not proved' : 'not restored';
  return { verdict, restored, failure, cleared };
}

/** Tells an object of a drill again, without its label in a file. A copy can have another UID. */
const markOf = ({ type, label }: ListedObject): string => sha256Hex(JSON.stringify([type, label]));

/** At most as many of each kind as a drill has put there. */
function isWithin(objects: readonly ListedObject[], marks: readonly string[]): boolean {
  const left = [...marks];
  return objects.every((object) => {
    const at = left.indexOf(markOf(object));
    if (at !== -1) left.splice(at, 1);
    return at !== -1;
  });
}
