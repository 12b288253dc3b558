/** A group of members in memory. */
import { MemberGroup } from './member-group.ts';
import { SimulatedMember } from './simulated-member.ts';

export class SimulatedGroup extends MemberGroup {
  /** Makes members that hold one domain key. */
  static async make(...serials: string[]): Promise<{ group: SimulatedGroup; members: SimulatedMember[] }> {
    const group = new SimulatedGroup();
    const members = await Promise.all(serials.map((serial) => SimulatedMember.make(serial)));
    await group.rotate(members);
    return { group, members };
  }
}
