/** Looking for silent damage, by order. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { isSilent } from '../sites/expected.ts';
import { GroupReader } from './groups/group-reader.ts';
import type { RpcPorts } from './ports.ts';

type ScrubHandlers = Pick<Handlers<typeof OperatorService>, 'runScrub'>;

export function scrubHandlers(ports: RpcPorts): ScrubHandlers {
  const { detector, reconciler } = ports;
  const groups = new GroupReader(ports);
  return {
    runScrub: async ({ group: name, site }) => {
      const group = await groups.read(name);
      const members = group.members.filter((member) =>
        site === '' ? member.role !== 'fenced' && !isSilent(detector, member.site) : member.site === site,
      );
      if (members.length === 0)
        throw new AntipodeError(
          'NOT_FOUND',
          site === '' ? `no member of group ${name} is up` : `site ${site} has no seat in group ${name}`,
          {
            details: { group: name, site },
            hint: `Run \`antipode group show ${name}\` to see its members and the state of their sites.`,
          },
        );
      const planned = members.map((member) => ({
        kind: 'scrub' as const,
        group: name,
        site: member.site,
        state: { phase: 'due' },
        trace: {},
      }));
      return { operationIds: (await Promise.all(planned.map((one) => reconciler.intend(one)))).map((made) => made.id) };
    },
  };
}
