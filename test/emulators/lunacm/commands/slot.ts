/** `slot list` and `slot set`. */
import type { PartitionRecord } from '../devices.ts';
import { Refused, type Run } from '../run.ts';

export function printSlots(run: Run): void {
  const { partitions, slots } = run.devices.read();
  const { output } = run;
  const visible = slots.flatMap(({ slot, serial }) => {
    const partition = partitions.find((one) => one.serial === serial && one.isReachable);
    return partition === undefined ? [] : [{ slot, partition }];
  });
  output.line(run.dialect.settings.indent + run.dialect.text('heading'));
  output.line();
  for (const { slot, partition } of visible) {
    run.field('slotId', slot);
    run.field('label', partition.label);
    // Trailing blanks are in the captures too.
    run.field('serial', `${partition.serial}  `);
    run.field('model', partition.model);
    run.field('firmware', partition.firmware);
    run.field('configuration', partition.configuration);
    run.field('slotDescription', partition.description);
    output.line();
  }
  if (visible.length === 0) run.say('stray');
  output.line();
  run.slot ??= visible[0]?.slot;
  const { indent } = run.dialect.settings;
  output.line(
    indent +
      (run.slot === undefined ? run.dialect.text('noSlot') : run.dialect.text('currentSlot', { slot: run.slot })),
  );
  output.line();
}

export function slotSet(run: Run, options: ReadonlyMap<string, string>): void {
  const slot = Number(options.get('slot'));
  const partition = run.partitionAt(slot);
  run.slot = slot;
  const { firmware, configuration, description } = partition;
  const authentication = authenticationOf(partition);
  run.say('currentSlotLong', { slot, firmware, authentication, description: `${configuration} (${description})` });
}

const authenticationOf = ({ configuration }: PartitionRecord): string =>
  configuration.includes('(PED)') ? 'PED' : 'PW';

/** The number in `-slot`, which must be one that the tool has listed. */
export function slotOption(
  run: Run,
  options: ReadonlyMap<string, string>,
): { slot: number; partition: PartitionRecord } {
  const value = options.get('slot');
  if (value === undefined || !/^\d+$/.test(value)) throw new Refused('badArguments');
  return { slot: Number(value), partition: run.partitionAt(Number(value)) };
}
