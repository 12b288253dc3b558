/** Faults of the tokens of the members. */
import type { FaultTable } from './fault.ts';

export const TOKEN_FAULTS: FaultTable = {
  'hsm-busy': ({ at, value }, { world }) => {
    world.site(at).member.hsm.faults.busyCalls = Math.round(value);
    return undefined;
  },
  'hsm-gone': ({ at }, { world }) => {
    const { faults } = world.site(at).member.hsm;
    faults.isAbsent = true;
    return () => {
      faults.isAbsent = false;
    };
  },
  'hsm-slow': ({ at, value }, { world }) => {
    const { faults } = world.site(at).member.hsm;
    const before = faults.callMs;
    faults.callMs = value;
    return () => {
      faults.callMs = before;
    };
  },
  'hsm-lies': ({ at }, { world }) => {
    const { hsm } = world.site(at).member;
    // Of a private key in PKCS #8 this is in the secret scalar.
    hsm.distort = (value) => value.map((byte, index) => (index === Math.min(40, value.length - 1) ? byte ^ 1 : byte));
    return () => {
      hsm.distort = (value) => value;
    };
  },
  'reused-handles': ({ at }, { world }) => {
    const { hsm } = world.site(at).member;
    hsm.reusesHandles = true;
    return () => {
      hsm.reusesHandles = false;
    };
  },
  'empty-token': ({ at }, { world, facts, forget }) => {
    const member = facts.members.find(({ site }) => site === at);
    const [move] = world.database.rows("SELECT id FROM intent WHERE kind = 'failover' AND status = 'open'");
    // At the active member it is the applications that delete.
    if (member?.role !== 'standby' || move !== undefined) return undefined;
    facts.empty(at);
    forget(at);
    return undefined;
  },
};
