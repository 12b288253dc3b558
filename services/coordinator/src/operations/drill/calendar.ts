/**
 * The drills of one fire time: one in a scratch partition of the group, and one from each vault that has a complete
 * backup.
 */
import type { Store, Write } from '../../store/store.ts';
import { readArchiveStandings } from '../../store/tables/evidence/archives.ts';
import { lockGroup, readGroup } from '../../store/tables/groups.ts';
import { startArchive } from '../archive/start.ts';
import { startDrill } from './start.ts';

type Ports = Parameters<typeof startDrill>[0] & { readonly store: Pick<Store, 'query' | 'snapshot'> };

/**
 * `isWanted` is asked once, in the transaction that makes the first of them. Each is made only while nobody has paused the
 * automation of the group: the wait for sites, and each earlier drill, takes time.
 * @throws what `startDrill` throws where nothing could be started
 */
export async function startDrills(
  ports: Ports,
  { group: name, isWanted }: { group: string; isWanted: (trx: Write) => Promise<boolean> },
): Promise<void> {
  const { store, detector, reconciler } = ports;
  const { group, standings } = await store.snapshot(async (db) => {
    const read = await readGroup(db, name);
    const vaults = read.spec.archives ?? [];
    return { group: read, standings: await readArchiveStandings(db, name, { vaults, sinceMs: read.createdMs }) };
  });
  const able = standings.filter(
    ({ site, serial, complete }) =>
      complete !== undefined &&
      detector.view(site)?.state?.vaults.some((one) => one.serial === serial && one.hasScratch) === true,
  );
  const isAutomated = async (trx: Write): Promise<boolean> => (await lockGroup(trx, name)).pause === undefined;
  const mayBegin = async (trx: Write): Promise<boolean> => (await isAutomated(trx)) && (await isWanted(trx));
  let isMade = false;
  if (group.spec.scratch.length > 0 || able.length === 0) {
    if ((await startDrill(ports, { group: name, site: '', isWanted: mayBegin })) === '') return;
    isMade = true;
  }
  for (const vault of able) {
    const wanted = { group, vault, work: 'drill', backup: '', isScheduled: true } as const;
    const { id } = await startArchive({ reconciler }, wanted, isMade ? isAutomated : mayBegin);
    if (id === '') return;
    isMade = true;
  }
}
