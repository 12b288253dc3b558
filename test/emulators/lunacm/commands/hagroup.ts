/** `hagroup listgroups`: groups are of the client, and no device knows them. */
import type { Run } from '../run.ts';

export function listGroups(run: Run): void {
  const { groups = [], partitions, slots } = run.devices.read();
  run.say('haSettings', { only: 'no' });
  run.output.line();
  for (const { label, slot, serials } of groups) {
    run.say('haGroup', { label, slot, first: serials[0] ?? '', members: serials.join(', ') });
    run.output.line();
    run.say('haMemberHeading');
    for (const serial of serials) {
      const member = partitions.find((one) => one.serial === serial);
      run.say('haMember', {
        ...{ serial, label: member?.label ?? '' },
        slot: slots.find((one) => one.serial === serial)?.slot ?? '-',
        status: member?.isReachable === true ? 'alive' : 'down',
      });
    }
    run.output.line();
  }
}
