/** The coordinators as operators see them: this one, and the others by what the sites say. */
import type { CoordinatorReport, CoordinatorStateSchema } from '@antipode/protocol';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SiteReport } from '../../sites/coordinator-book.ts';

type CoordinatorStateInit = MessageInitShape<typeof CoordinatorStateSchema>;

interface Seen extends CoordinatorReport {
  readonly site: string;
  /** Since the report came. */
  readonly ageMs: bigint;
}

export function coordinatorStates({
  id,
  address,
  leadsForMs,
  reports,
  nowMs,
}: {
  /** This coordinator, which leads. */
  id: string;
  address: string | undefined;
  leadsForMs: number;
  /** Of the sites that are heard. */
  reports: readonly SiteReport[];
  /** Monotonic. */
  nowMs: number;
}): CoordinatorStateInit[] {
  const seen = reports.flatMap(({ site, atMs, coordinators }) => {
    const ageMs = BigInt(Math.max(0, Math.round(nowMs - atMs)));
    return coordinators.map((report): Seen => ({ ...report, site, ageMs }));
  });
  const others = Map.groupBy(
    seen.filter(({ coordinator }) => coordinator !== id),
    ({ coordinator }) => coordinator,
  );
  const own = seen.filter(({ coordinator }) => coordinator === id);
  return [
    {
      coordinator: id,
      address: address ?? '',
      state: 'leads',
      stateAgeMs: BigInt(Math.round(leadsForMs)),
      silenceMs: 0n,
      // A site that does not reach it would not be heard: only a report from before can say so.
      reachedBy: own.map(({ site }) => site).sort(),
    },
    ...[...others]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([coordinator, ofIt]) => otherState(coordinator, ofIt)),
  ];
}

function otherState(coordinator: string, seen: readonly Seen[]): CoordinatorStateInit {
  const reached = seen.filter((one) => one.reached);
  // A former leader that has not noticed its end says so itself.
  const leading = reached.filter(({ leads }) => leads);
  const [state, saying] =
    leading.length > 0
      ? (['leads', leading] as const)
      : reached.length > 0
        ? (['stands-by', reached] as const)
        : (['silent', seen] as const);
  const answers = seen.flatMap(({ answeredMs, ageMs }) =>
    answeredMs === undefined ? [] : [Number(answeredMs + ageMs)],
  );
  const sitesOf = (of: readonly Seen[]): string[] => of.map(({ site }) => site).sort();
  return {
    coordinator,
    address: saying[0]?.address ?? '',
    state,
    // Where sites differ, the one that has seen it for longest was there.
    stateAgeMs: BigInt(Math.max(0, ...saying.map(({ sinceMs, ageMs }) => Number(sinceMs + ageMs)))),
    ...(answers.length === 0 ? {} : { silenceMs: BigInt(Math.min(...answers)) }),
    reachedBy: sitesOf(reached),
    missedBy: sitesOf(seen.filter((one) => !one.reached)),
  };
}
