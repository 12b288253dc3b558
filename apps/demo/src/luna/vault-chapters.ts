/** The chapters about the vault: it becomes an archive of the group, and is drilled while the source is dead. */
import { ArchiveWork } from '@antipode/protocol';
import type { DemoCommands, Operator } from '../commands.ts';
import type { Places } from '../places.ts';
import type { Stage } from '../stage.ts';
import type { Story } from '../story.ts';
import { AT_B, SCRATCH, VAULT } from './devices.ts';
import type { EmulatedDevices } from './emulated-devices.ts';

interface VaultPorts {
  readonly story: Story;
  readonly commands: DemoCommands;
  readonly places: Places;
  readonly stage: Stage;
  readonly group: string;
  readonly timeoutMs: number;
  /** There once the first chapter has ended. */
  readonly devices: () => EmulatedDevices;
}

export class VaultChapters {
  readonly #ports: VaultPorts;

  constructor(ports: VaultPorts) {
    this.#ports = ports;
  }

  /** The coordinator orders the first backup as soon as the group has the vault. */
  async becomeArchive(operator: Operator): Promise<{ objects: number; generation: number }> {
    const { story, places, stage, group, timeoutMs } = this.#ports;
    const change = {
      kind: { case: 'archives' as const, value: { vaults: [{ site: 'b', serial: VAULT.serial }] } },
    };
    const plan = await places.until('site b reports its vault', timeoutMs, async () => {
      const found = await operator.planGroupChange({ group, change });
      return found.obstacle === '' ? found : undefined;
    });
    await operator.changeGroup({ group, change, revision: plan.revision });
    const archive = await places.until('the first backup has ended', timeoutMs, async () => {
      const found = (await stage.group(operator)).archives[0];
      return found !== undefined && (found.backup !== '' || found.lastFailure !== '') && found;
    });
    const { runs } = await operator.listArchives({ group, limit: 1 });
    const [objects, generation] = [runs[0]?.objects ?? 0, Number(archive.generation?.generation ?? 0n)];
    const { backup, state, lastFailure } = archive;
    story.detail(`backup ${backup}: ${objects} objects, generation ${generation}; the archive is ${state}`);
    stage.expect(lastFailure === '', `the backup ended with ${lastFailure}`);
    stage.expect(state === 'current' && objects > 0, `the archive is ${state}, with ${objects} objects`);
    return { objects, generation };
  }

  /** lunacm reaches neither partition then: the vault has to be enough. */
  async drill(operator: Operator, expected: number): Promise<{ proved: number; failed: number }> {
    const { story, commands, stage, group, timeoutMs } = this.#ports;
    const devices = this.#ports.devices();
    devices.setReachable(false, AT_B);
    story.detail(
      'lunacm reaches the partition of b no more than that of a: it has the vault and the scratch partition',
    );
    const order = { group, site: 'b', serial: VAULT.serial, work: ArchiveWork.DRILL, backup: '' };
    const { operationId } = await operator.runArchive(order);
    const { outcome } = await commands.follow(operator, operationId, { timeoutMs });
    devices.setReachable(true, AT_B);
    const { drills } = await operator.listDrills({ group, limit: 1 });
    const drill = drills[0];
    const { proved = 0, failed = 0 } = drill?.proof ?? {};
    const verdict = outcome.case === 'archive' ? outcome.value.verdict : '';
    const took = commands.duration(drill?.recoveryTimeMs);
    story.detail(`generation ${drill?.generation}: ${proved} objects proved, ${failed} failed, recovery time ${took}`);
    stage.expect(
      verdict === 'proved' && drill?.passed === true && failed === 0 && proved === expected,
      `the drill is "${verdict}": ${proved} of ${expected} objects proved, ${failed} failed`,
    );
    const left = devices.partition(SCRATCH.serial).token.tool('--list-objects').toString();
    stage.expect(!/Key Object/.test(left), 'there are keys in the scratch partition after the drill');
    return { proved, failed };
  }
}
