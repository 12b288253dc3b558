/** Plans for other scratch partitions. They hold the domain key and no vote. Pure. */
import { AntipodeError } from '@antipode/runtime';
import type { Seat } from '../../model.ts';
import { checkSites } from '../group-spec.ts';
import type { ChangePlan, Obstacle } from './change.ts';
import { busyWith, type ChangeFacts, domainKeyConsequences, seatText } from './facts.ts';
import { obstacleOf } from './members.ts';

/** @throws REQUEST_INVALID */
export function planScratch(facts: ChangeFacts, wanted: readonly Seat[]): ChangePlan {
  const { spec, revision, highestVersion } = facts.group;
  const texts = wanted.map(seatText);
  if (new Set(texts).size !== texts.length || wanted.some(({ site, serial }) => site === '' || serial === ''))
    throw new AntipodeError('REQUEST_INVALID', 'scratch partitions must have sites and serial numbers, each once', {
      details: { field: 'scratch' },
    });
  const has = (seats: readonly Seat[], one: Seat): boolean => seats.some((seat) => seatText(seat) === seatText(one));
  const added = wanted.filter((seat) => !has(spec.scratch, seat));
  const removed = spec.scratch.filter((seat) => !has(wanted, seat));
  const isSame = added.length + removed.length === 0;
  const obstacle = isSame ? undefined : scratchObstacle(facts, { added, removed });
  return {
    revision,
    spec: { ...spec, scratch: wanted.map(({ site, serial }) => ({ site, serial })) },
    changes: [
      ...added.map((seat) => `scratch: ${seatText(seat)} is added`),
      ...removed.map((seat) => `scratch: ${seatText(seat)} is removed`),
    ],
    consequences: isSame
      ? []
      : [
          ...(wanted.length === 0
            ? [
                'The group has no scratch partition then, so no drill can run. Nothing proves that its keys can be restored.',
              ]
            : []),
          ...added.map(
            ({ serial }) =>
              `Every site of the group must trust scratch partition ${serial} (\`antipode peer trust --scratch-peer\`). Drills run there once a generation is captured under the new version.`,
          ),
          ...removed.map(
            ({ serial }) =>
              `Partition ${serial} keeps the versions of the domain key up to ${highestVersion}. A holder of its PIN can open everything that was sealed until now. Initialise the token again if nobody should.`,
          ),
          ...domainKeyConsequences(facts),
        ],
    needsConfirmation: !isSame,
    ...(obstacle === undefined ? {} : { obstacle }),
  };
}

function scratchObstacle(
  facts: ChangeFacts,
  { added, removed }: { added: readonly Seat[]; removed: readonly Seat[] },
): Obstacle | undefined {
  const { group, detector, open } = facts;
  const { members, joining, spec } = group;
  const busy = busyWith(facts);
  if (busy !== undefined) return busy;
  const used = open.find(
    ({ kind, state }) =>
      kind === 'drill' && removed.some(({ serial }) => serial === (state as { serial?: string }).serial),
  );
  if (used !== undefined) return { code: 'GROUP_BUSY', message: 'a drill runs in a partition that is to be removed' };
  const taken = added.find(
    ({ serial }) =>
      [...members, ...joining].some((one) => one.serial === serial) || spec.distributor?.serial === serial,
  );
  if (taken !== undefined)
    return {
      code: 'GROUP_CHANGE_REFUSED',
      message: `partition ${taken.serial} is a member of the group, or its distributor`,
    };
  return obstacleOf(() => {
    const { distributor: _distributor, ...rest } = spec;
    checkSites({ ...rest, members: [], scratch: added }, detector);
  });
}
