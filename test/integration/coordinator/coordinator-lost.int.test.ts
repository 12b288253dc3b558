/**
 * The leading coordinator is killed at every step of every machine, once for each step. Another one continues, and the
 * group comes to the state that it comes to without a crash.
 */
import { INTENT_KINDS, type IntentKind } from '@antipode/coordinator/testing';
import {
  ArchiveWork,
  FailoverPolicy,
  type GroupChangeSchema,
  type GroupState,
  MemberRole,
  SiteAgentService,
} from '@antipode/protocol';
import { hasCode, hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { COORDINATORS, Coordinators, type Crash } from '../../support/coordinators.ts';

/** Each story happens once for each step in it. */
vi.setConfig({ testTimeout: 600_000 });

const GROUP = 'payments';
const NAMES = ['a', 'b', 'c'] as const;
const VAULT = { site: 'a', serial: 'vault-1' };

let all: Coordinators;
let keys = 0;

beforeAll(async () => {
  all = await Coordinators.start({ sites: NAMES, group: GROUP, vaults: { [VAULT.site]: [VAULT.serial] } });
  all.sites.get('a')!.member.hsm.addSecret('first');
  const members = NAMES.map((site) => ({ site, serial: `${site}-1` }));
  const scratch = [{ site: 'c', serial: 'c-2' }];
  const archives = [VAULT];
  const spec = { name: GROUP, members, scratch, archives, rpoSeconds: 3_600, failoverPolicy: FailoverPolicy.MANUAL };
  await all.until(all.operator.createGroup({ spec }));
  await settled();
});
afterAll(() => all?.close());

const group = async (): Promise<GroupState> => (await all.operator.getGroup({ group: GROUP })).group!;

/** Operations that have not ended. */
const underWay = async (): Promise<number> => {
  const rows = await all.store.query((db) =>
    db.selectFrom('intent').select('id').where('status', 'in', ['open', 'parked']).execute(),
  );
  return rows.length;
};

/** Nothing is under way, and every member has what the active one has. */
const settled = (): Promise<true> => all.until(isSettled());

function isSettled(): Promise<true> {
  return all.sees('the group has settled', async () => {
    if ((await underWay()) > 0) return false;
    const { newest, members, activeSite, domainKeyDue, joining, protection } = await group();
    const isCurrent = members.every(
      ({ site, role, acknowledgedGeneration }) =>
        role === (site === activeSite ? MemberRole.ACTIVE : MemberRole.STANDBY) &&
        (site === activeSite || (newest !== undefined && acknowledgedGeneration >= newest.generation)),
    );
    return isCurrent && protection === 'protected' && !domainKeyDue && joining.length === 0 && (await underWay()) === 0;
  });
}

/** Everything that must be the same whether a coordinator was lost or not. */
async function endState() {
  const { members, protection, contradiction, activeSite } = await all.seen('the group is shown', group);
  const held = NAMES.map((name) => all.sites.get(name)!.member.hsm.contents());
  return {
    /** Whichever site serves by now. */
    roles: members.map(({ site, role }) => (site === activeSite ? 'serves' : `role ${role}`)).toSorted(),
    protection,
    contradiction,
    quarantined: members.filter(({ quarantine }) => quarantine !== '').length,
    divergent: members.reduce((sum, one) => sum + one.divergentObjects + one.unaccountedObjects, 0),
    /** Each member has the same objects, and each key once. */
    copies: held.map((contents) => `${contents.length} ${new Set(contents).size}`),
    differences: new Set(held.map((contents) => contents.toSorted().join('\n'))).size,
    scratch: all.sites.get('c')!.scratch.hsm.contents().length,
    leaders: all.leaders,
    defects: all.defects,
  };
}

interface Story {
  /** Orders what is to happen. It is ordered again where it ended without that. */
  readonly order: () => Promise<unknown>;
  readonly hasHappened: () => Promise<boolean>;
  /** Afterwards, before everything settles. */
  readonly after?: () => void;
}

interface Telling {
  /** The kinds of operations in it: the leader is lost at each of their steps. */
  readonly kinds: readonly IntentKind[];
  /** Prepares it. Each call begins another one, so that it can be told from those before. */
  readonly begin: () => Promise<Story>;
}

const drills = async (): Promise<number> =>
  (await all.operator.listDrills({ group: GROUP })).drills.filter(({ passed }) => passed).length;
const backups = async (): Promise<number> => {
  const { runs } = await all.operator.listArchives({ group: GROUP });
  return runs.filter(({ verdict }) => verdict === 'complete').length;
};
const done = async (kind: IntentKind): Promise<number> => {
  const rows = await all.store.query((db) =>
    db.selectFrom('intent').select('id').where('kind', '=', kind).where('status', '=', 'done').execute(),
  );
  return rows.length;
};
const nothing = async (): Promise<void> => {};

/** A change of the group, by the declaration that is shown. */
async function change(kind: NonNullable<MessageInitShape<typeof GroupChangeSchema>['kind']>): Promise<void> {
  const { revision } = await all.operator.planGroupChange({ group: GROUP, change: { kind } });
  await all.operator.changeGroup({ group: GROUP, change: { kind }, revision });
}

/** The epoch of a failover that the database has forgotten: `owner` has persisted it. */
async function forget(epoch: bigint, owner: string): Promise<void> {
  const caller = { kind: 'coordinator', name: all.leader! } as const;
  const agent = all.network.client(SiteAgentService, { caller, callee: { kind: 'site', name: owner } });
  const { term } = all.sites.get(owner)!.site.terms.highest!;
  await agent.persistEpoch({ fence: { group: GROUP, epoch, owner, requestId: 'forgotten', term } });
  await all.sees('the contradiction', async () => (await group()).contradiction !== '');
}

/** The ids of the objects that a site has beside the group's line, and of which nobody has decided. */
async function undecided(site: string): Promise<string[]> {
  const { operationId } = await all.operator.runDivergence({ group: GROUP, site, action: 'show' });
  return all.sees('the divergent objects', async () => {
    const { operation } = await all.operator.getOperation({ operationId });
    if (operation?.outcome.case !== 'divergence') return false;
    return operation.outcome.value.divergent
      .filter(({ state }) => state === 'divergent')
      .map(({ objectId }) => objectId);
  });
}

const STORIES: Record<string, Telling> = {
  'a new key is replicated': {
    kinds: ['capture', 'replication'],
    begin: async () => {
      keys += 1;
      const active = (await group()).activeSite;
      const { generation = 0n } = (await group()).newest ?? {};
      all.sites.get(active)!.member.hsm.addSecret(`key ${keys}`);
      return {
        order: () => all.operator.replicate({ group: GROUP }),
        hasHappened: async () => ((await group()).newest?.generation ?? 0n) > generation,
      };
    },
  },
  'the group moves to another site': {
    kinds: ['failover', 'rejoin'],
    begin: async () => {
      const toSite = (await group()).activeSite === 'a' ? 'b' : 'a';
      return {
        order: () => all.operator.failover({ group: GROUP, toSite }),
        hasHappened: async () => (await group()).activeSite === toSite,
      };
    },
  },
  'the active site is lost': {
    kinds: ['failover'],
    begin: async () => {
      const lost = (await group()).activeSite;
      all.cutOff.add(lost);
      await all.sees('the active site is down', async () =>
        (await all.operator.getStatus({})).sites.some(({ site, state }) => site === lost && state === 'down'),
      );
      return {
        order: () => all.operator.failover({ group: GROUP }),
        hasHappened: async () => (await group()).activeSite !== lost,
        after: () => void all.cutOff.clear(),
      };
    },
  },
  'a drill runs': {
    kinds: ['drill'],
    begin: async () => {
      const before = await drills();
      return {
        order: () => all.operator.runDrill({ group: GROUP, site: 'c' }),
        hasHappened: async () => (await drills()) > before,
      };
    },
  },
  'a vault is backed up': {
    kinds: ['archive'],
    begin: async () => {
      const before = await backups();
      return {
        order: () => all.operator.runArchive({ group: GROUP, work: ArchiveWork.BACKUP }),
        hasHappened: async () => (await backups()) > before,
      };
    },
  },
  'a member is scrubbed': {
    kinds: ['scrub'],
    begin: async () => {
      const before = await done('scrub');
      const site = (await group()).activeSite === 'c' ? 'b' : 'c';
      return {
        order: () => all.operator.runScrub({ group: GROUP, site }),
        hasHappened: async () => (await done('scrub')) > before,
      };
    },
  },
  'the domain key changes': {
    kinds: ['domain-key'],
    begin: async () => {
      const { domainKeyVersion } = await group();
      return {
        order: () => all.operator.rotateDomainKey({ group: GROUP }),
        hasHappened: async () => (await group()).domainKeyVersion > domainKeyVersion,
      };
    },
  },
  'older domain keys are destroyed': {
    kinds: ['key-retirement'],
    begin: async () => {
      const before = (await group()).domainKeyVersion;
      await all.operator.rotateDomainKey({ group: GROUP });
      const { domainKeyVersion, newest } = await all.sees('everything is sealed under the new version', async () => {
        await isSettled();
        const now = await group();
        return now.newest?.domainKeyVersion === now.domainKeyVersion && now.domainKeyVersion > before && now;
      });
      // As when so many generations have followed that the store of a site needs the older ones no more.
      const { store } = all.sites.get('c')!.site;
      for (const { digest } of store.list(GROUP)) if (digest !== hex(newest!.manifestDigest)) store.retire(digest);
      return {
        order: nothing,
        hasHappened: async () =>
          (await group()).domainKeys.every(({ site, version }) => site !== 'c' || version === domainKeyVersion),
      };
    },
  },
  'a site joins': {
    kinds: ['member-join'],
    begin: async () => {
      const site = (await group()).activeSite === 'c' ? 'b' : 'c';
      const seat = { site, serial: `${site}-1` };
      await change({ case: 'removeMember', value: seat });
      await isSettled();
      return {
        order: () => change({ case: 'addMember', value: seat }),
        hasHappened: async () => (await group()).members.some((one) => one.site === site),
      };
    },
  },
  'the group is seated again': {
    kinds: ['reseat'],
    begin: async () => {
      const { activeSite, epoch } = await group();
      await forget(epoch + 1n, activeSite === 'c' ? 'b' : 'c');
      const before = await done('reseat');
      return {
        order: () => all.operator.reseatGroup({ group: GROUP }),
        hasHappened: async () => (await done('reseat')) > before && (await group()).activeSite === activeSite,
      };
    },
  },
  'a key of a standby is merged, and another is kept': {
    kinds: ['divergence'],
    begin: async () => {
      keys += 1;
      const { activeSite } = await group();
      const site = activeSite === 'c' ? 'b' : 'c';
      const [active, standby] = [activeSite, site].map((name) => all.sites.get(name)!.member.hsm);
      const labels = [`merged or kept ${keys}`, `kept or merged ${keys}`];
      for (const label of labels) standby!.addSecret(label);
      const found = await undecided(site);
      expect(found).toHaveLength(labels.length);
      const [merged = '', kept = ''] = found;
      const before = await done('divergence');
      return {
        order: async () => {
          const isMerged = (await done('divergence')) > before;
          // Everybody has what was merged before the rest is decided.
          if (isMerged) await isSettled();
          const decision = isMerged ? { action: 'keep', objectIds: [kept] } : { action: 'merge', objectIds: [merged] };
          await all.operator.runDivergence({ group: GROUP, site, ...decision });
        },
        hasHappened: async () => (await done('divergence')) > before + 1,
        after: () => {
          const left = labels.filter((label) => active!.labelled(label).length === 0);
          expect(left).toHaveLength(1);
          // It stays in the token of its site alone until somebody takes it away.
          for (const object of left.flatMap((label) => standby!.labelled(label))) standby!.remove(object);
        },
      };
    },
  },
};

/** Lets a story happen, with a coordinator lost on the way if `crash` says where. */
async function tell(begin: Telling['begin'], crash?: Crash) {
  const story = await all.until(begin());
  all.watch(crash);
  await all.seen('what was ordered has happened', async () => {
    if (await story.hasHappened()) return true;
    await story.order().catch((thrown: unknown) => {
      if (!hasCode(thrown, 'SITE_UNREACHABLE', 'TIMED_OUT', 'NOT_LEADER', 'GROUP_BUSY', 'LEADERSHIP_LOST'))
        throw thrown;
    });
    while ((await underWay()) > 0) await all.clock.sleep(100);
    return story.hasHappened();
  });
  story.after?.();
  await settled();
  const { steps } = all;
  all.watch();
  for (const id of COORDINATORS) await all.revive(id);
  return { steps, end: await endState() };
}

it('every kind of operation has a story', () => {
  const told = new Set(Object.values(STORIES).flatMap(({ kinds }) => kinds));
  expect([...told].toSorted()).toEqual(INTENT_KINDS.toSorted());
});

describe.each(Object.keys(STORIES))('while %s', (name) => {
  it('the leader may be lost at any step', async () => {
    const { kinds, begin } = STORIES[name]!;
    const undisturbed = await tell(begin);
    const { copies: _, ...expected } = undisturbed.end;
    for (const kind of kinds) {
      const count = undisturbed.steps.filter((step) => step.kind === kind).length;
      expect([kind, count]).not.toEqual([kind, 0]);
      // Between two steps nothing outlives the process: after one is before the next.
      const crashes = Array.from({ length: count }, (_, index) => ({ kind, index, when: 'after' as const }));
      for (const crash of [{ kind, index: 0, when: 'before' as const }, ...crashes]) {
        const { end } = await tell(begin, crash);
        const { copies, ...rest } = end;
        expect([crash, rest]).toEqual([crash, expected]);
        expect(new Set(copies).size).toBe(1);
      }
    }
  });
});
