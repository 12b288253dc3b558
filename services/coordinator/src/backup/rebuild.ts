/**
 * Adopts groups that only the sites know any more into the database of a coordinator: one that is empty, or one that was
 * put back and is older than these groups. No agent is ordered anything here. Where their journals contradict the rows
 * that this writes, the next leader notices, and orders nothing in that group (ADR 0012).
 */
import {
  FailoverPolicy,
  filterMessage,
  GroupSpecSchema,
  generationFacts,
  LeaseLapse,
  movementField,
  Tls,
} from '@antipode/protocol';
import { AntipodeError, type Closeable, closeAll, lockFolder, makeFolder } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import type { CoordinatorConfig } from '../config.ts';
import { EmbeddedPostgres } from '../embedded/postgres.ts';
import { checkSeats, specFrom } from '../groups/group-spec.ts';
import type { GroupSpec } from '../model.ts';
import { NOT_KNOWN_YET } from '../operations/reseat/effects.ts';
import { dialOverTls } from '../sites/agents.ts';
import { externalDatabase } from '../store/postgres/external-database.ts';
import { PostgresStore, type PostgresStoreOptions } from '../store/postgres/postgres-store.ts';
import type { Write } from '../store/store.ts';
import { readGeneration, recordCapture } from '../store/tables/generations.ts';
import { adoptGroup, readGroups } from '../store/tables/groups.ts';
import { readLeaderLease, takeLeaderLease } from '../store/tables/leadership/leader-lease.ts';
import { raiseLeaseLength } from '../store/tables/leadership/lease-length.ts';
import { PROFILES } from '../timings.ts';
import type { CommandPorts } from './database-at-hand.ts';
import { type Adoption, type GroupPlan, planRebuild, type RebuildOptions } from './rebuild-plan.ts';
import { type Asked, askSites } from './survey.ts';

export interface RebuildPlan {
  readonly groups: readonly GroupPlan[];
  /** Groups that the database has: nothing is done about them. */
  readonly known: readonly string[];
  readonly silent: readonly { readonly site: string; readonly code: string }[];
}

export interface Rebuilder extends Closeable {
  readonly plan: RebuildPlan;
  /** Writes what was planned. @throws RESTORE_REFUSED where a coordinator leads, or has the group by now */
  adopt(): Promise<readonly string[]>;
}

type Config = Pick<CoordinatorConfig, 'id' | 'dataFolder' | 'databaseUrl' | 'tls' | 'timings'>;

export interface RebuildSettings extends CommandPorts, RebuildOptions {
  readonly sites: readonly { readonly site: string; readonly address: string }[];
}

const LEASE_MS_MAX = Math.max(...Object.values(PROFILES).map(({ leaseMs }) => leaseMs));

/**
 * Asks the sites. Nothing is written but the tables of an empty database.
 * @throws FILE_EXISTS while a coordinator runs on the data folder, REBUILD_REFUSED while one answers the sites,
 * DATABASE_UNAVAILABLE, CERTIFICATE_INVALID
 */
export async function openRebuild(config: Config, settings: RebuildSettings): Promise<Rebuilder> {
  const { clock, prng, log, sites } = settings;
  const { dataFolder, databaseUrl, tls, timings } = config;
  makeFolder(dataFolder);
  const owned: Closeable[] = [lockFolder(dataFolder, { program: 'coordinator' })];
  const close = () => closeAll(owned.toReversed());
  try {
    let connection: PostgresStoreOptions['connection'];
    if (databaseUrl === undefined) {
      const server = new EmbeddedPostgres({ dataFolder, clock, prng, log });
      owned.push(server);
      connection = await server.start();
    } else connection = externalDatabase(databaseUrl);
    const store = new PostgresStore({ connection, clock, log });
    owned.push(store);
    await store.found();
    const own = new Tls({ caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key }, { clock, log });
    const ask = () => askSites(sites, { dial: dialOverTls(own), timings, areGroupsTold: true });
    let heard = await ask();
    if (answeredLately(heard, settings) !== undefined) {
      // Its coordinator has perhaps just ended.
      await clock.sleep(COORDINATOR_SILENT_MS);
      heard = await ask();
    }
    refuseBesideCoordinator(answeredLately(heard, settings));
    const specs = (await store.query((db) => readGroups(db))).map(({ spec }) => spec);
    const known = specs.map(({ name }) => name);
    const groups = planRebuild(heard, settings)
      .filter(({ group }) => !known.includes(group))
      .map((plan) => checked(plan, specs));
    const silent = heard.flatMap(({ site, error }) => (error === undefined ? [] : [{ site, code: error.code }]));
    return { plan: { groups, known, silent }, adopt: () => adopt(store, groups, settings), close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** A site whose coordinator leads is answered every two seconds at least. */
const COORDINATOR_SILENT_MS = 5_000;

const answeredLately = (heard: readonly Asked[], { without }: RebuildOptions): Asked | undefined =>
  heard.find(
    ({ site, coordinatorSilentMs = Number.POSITIVE_INFINITY }) =>
      !without.includes(site) && coordinatorSilentMs < COORDINATOR_SILENT_MS,
  );

/** One that leads with another database knows the groups, and goes on with their epochs. */
function refuseBesideCoordinator(answered: Asked | undefined): void {
  if (answered === undefined) return;
  const { site, coordinatorSilentMs = 0 } = answered;
  throw new AntipodeError('REBUILD_REFUSED', `a coordinator answered site ${site} ${coordinatorSilentMs} ms ago`, {
    details: { site },
    hint: 'Find the coordinator that leads (`antipode status`). Its database knows the groups. Stop every coordinator before you adopt groups.',
  });
}

async function adopt(store: PostgresStore, groups: readonly GroupPlan[], { clock }: CommandPorts): Promise<string[]> {
  const adopted = groups.filter((plan) => plan.verdict === 'adopt');
  if (adopted.length === 0) return [];
  // A coordinator that leads in this database leads no longer, and writes nothing between these writes.
  const seen = await store.query(readLeaderLease);
  const epoch = seen.epoch + 1n;
  if (seen.holder !== '' || !(await store.query((db) => takeLeaderLease(db, { seen, id: '', epoch }))))
    throw new AntipodeError('RESTORE_REFUSED', `coordinator ${seen.holder} leads in this database, or has just ended`, {
      details: { coordinator: seen.holder },
      hint: 'Stop every coordinator of this database in order (SIGTERM). One that was killed is waited for: start it again, and stop it.',
    });
  await store.write(epoch, async (trx, record) => {
    await raiseLeaseLength(trx, LEASE_MS_MAX);
    for (const plan of adopted) {
      await write(trx, plan, clock.wallMs());
      const { group, owner, members, leftOut } = plan;
      record({
        kind: 'group-rebuilt',
        group,
        site: owner,
        details: { epoch: plan.epoch, members: members.length, leftOut: leftOut.map(({ site }) => site).join(',') },
      });
    }
  });
  return adopted.map(({ group }) => group);
}

async function write(trx: Write, plan: Adoption, nowMs: number): Promise<void> {
  const { group, epoch, owner, vouchers, members, domainKeyVersion, highestVersion, highestNumber, refs } = plan;
  const roles = new Map(members.map(({ site, role }) => [site, role]));
  const numbers = { domainKeyVersion, highestVersion, highestNumber };
  await adoptGroup(trx, { spec: specOf(plan), epoch, owner, vouchers, roles, ...numbers }, nowMs);
  for (const ref of refs) {
    if ((await readGeneration(trx, group, { epoch: ref.epoch, number: ref.generation })) !== undefined) continue;
    // By whose clock it was captured is not known here, so no recovery point is claimed (I13).
    await recordCapture(trx, group, {
      ...generationFacts({ ...ref, uncaptured: [] }),
      uncaptured: NOT_KNOWN_YET,
      recoveryPointMs: 0,
      trace: {},
    });
  }
}

/** Names and serial numbers come from agents, so they are checked like a declaration. */
function checked(plan: GroupPlan, known: readonly GroupSpec[]): GroupPlan {
  if (plan.verdict !== 'adopt') return plan;
  try {
    checkSeats(specOf(plan), known);
    return plan;
  } catch (thrown) {
    const { group, leftOut } = plan;
    return { verdict: 'undecided', group, leftOut, reason: AntipodeError.from(thrown).message };
  }
}

/** Automation is off, and nothing runs on a calendar, until an operator declares it again. */
const RPO_SECONDS = 300;

function specOf(plan: Adoption): GroupSpec {
  const { group, owner, members, scratch, distributor, filter, movement, onLeaseLapse } = plan;
  const seats = [...members].sort((one, other) => Number(other.site === owner) - Number(one.site === owner));
  const seatOf = ({ site, serial }: { site: string; serial: string }) => ({ site, serial });
  return specFrom(
    create(GroupSpecSchema, {
      name: group,
      members: seats.map(seatOf),
      scratch: scratch.map(seatOf),
      ...(distributor === undefined ? {} : { distributor: seatOf(distributor) }),
      filter: filterMessage(filter),
      rpoSeconds: RPO_SECONDS,
      failoverPolicy: FailoverPolicy.MANUAL,
      ...movementField(movement),
      ...(onLeaseLapse === undefined ? {} : { onLeaseLapse: LeaseLapse.STOP_SERVING }),
    }),
  );
}
