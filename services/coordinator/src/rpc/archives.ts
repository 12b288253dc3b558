/** Vaults: work with one by order, and what is in them by the records of their sites. */
import { archiveWorkName, archiveWorkNumber, type Handlers, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { approvalMissing, isCovered, readUsable, requestsFor, ruleAt } from '../groups/approvals.ts';
import type { Group, Seat } from '../model.ts';
import { startArchive, vaultOf } from '../operations/archive/start.ts';
import { readArchiveRuns, readArchiveStandings } from '../store/tables/evidence/archives.ts';
import { readIntent } from '../store/tables/intents.ts';
import { GroupReader } from './groups/group-reader.ts';
import type { RpcPorts } from './ports.ts';
import { archiveMessage } from './views/archive.ts';

const RUNS_DEFAULT = 50;

type ArchiveHandlers = Pick<Handlers<typeof OperatorService>, 'runArchive' | 'listArchives'>;

export function archiveHandlers(ports: RpcPorts): ArchiveHandlers {
  const { store, detector, clock, timeline } = ports;
  const groups = new GroupReader(ports);
  return {
    runArchive: async ({ group: name, site, serial, work: number, backup }) => {
      const work = archiveWorkName(number);
      if (work === undefined)
        throw new AntipodeError('REQUEST_INVALID', 'work is missing, or unknown to this version of the coordinator', {
          details: { field: 'work' },
        });
      if (work === 'delete' && backup === '')
        throw new AntipodeError('REQUEST_INVALID', 'a deletion must name its backup', { details: { field: 'backup' } });
      const group = await groups.agreed(name);
      const vault = vaultOf(group, { site, serial });
      if (work === 'restore') await requireRestoreApproved(ports, group, vault);
      const wanted = { group, vault, work, backup, isScheduled: false };
      const { id, isNew } = await startArchive(ports, wanted);
      if (isNew) return { operationId: id };
      const open = await store.query((db) => readIntent(db, id));
      const target = (open?.state as { target?: { work: string; serial: string; backup: string } } | undefined)?.target;
      if (target?.work === work && target.serial === vault.serial && target.backup === backup)
        return { operationId: id };
      throw new AntipodeError('GROUP_BUSY', `other work with a vault of site ${vault.site} is under way`, {
        details: { group: name, site: vault.site, operation: id },
        hint: `Wait for it: \`antipode operation show ${id}\`. A vault does one thing at a time.`,
      });
    },

    listArchives: async ({ group: name, limit }) => {
      const view = detector.snapshot();
      const group = await groups.read(name);
      const vaults = group.spec.archives ?? [];
      const { standings, runs } = await store.snapshot(async (db) => ({
        standings: await readArchiveStandings(db, name, { vaults, sinceMs: group.createdMs }),
        runs: await readArchiveRuns(db, { group: name, limit: limit || RUNS_DEFAULT }),
      }));
      const nowMs = clock.wallMs();
      return {
        archives: standings.map((standing) => archiveMessage({ group, view, nowMs }, standing)),
        backups: vaults.flatMap(({ site, serial }) => {
          const { state, lastWallMs = nowMs } = view(site) ?? {};
          const told = state?.vaults.find((one) => one.serial === serial)?.backups ?? [];
          const reportAgeMs = BigInt(Math.max(0, Math.round(nowMs - lastWallMs)));
          return told.map((backup) => ({ site, serial, backup, reportAgeMs }));
        }),
        runs: runs.map(({ number, proof, work, startedMs, ...run }) => ({
          ...run,
          work: archiveWorkNumber(work),
          generation: number,
          startedMs: BigInt(timeline.toWallMs(startedMs)),
          proof: { ...proof, failedObjectIds: [...proof.failedObjectIds] },
        })),
      };
    },
  };
}

/** Asked before anything begins: the agent of the site would refuse. @throws APPROVAL_REQUIRED */
async function requireRestoreApproved(
  { store, detector, context }: RpcPorts,
  { spec, members, epoch }: Group,
  { site }: Seat,
): Promise<void> {
  const rule = ruleAt(detector.view(site)?.state, spec.name);
  const seat = members.find((member) => member.site === site);
  if (rule === undefined || seat === undefined) return;
  const records = await store.query((db) =>
    readUsable(db, { group: spec.name, act: 'restore-backup', calendarMs: context.ports.calendarMs() }),
  );
  if (!isCovered(requestsFor(records, rule), { action: 'restore-backup', seat, epoch }))
    throw approvalMissing(spec.name, seat, 'restore-backup');
}
