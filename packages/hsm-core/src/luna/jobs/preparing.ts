/**
 * Takes a Backup HSM from factory state to ready: ends its transport mode, initialises it, proves its officer and sets
 * its policy. Each step is a run of its own that looks first, so that the job can be repeated whenever it was cut short.
 * A device is initialised only where it shows in the same run that it has nothing to lose.
 */
import { AntipodeError, type Secret } from '@antipode/runtime';
import { type ApprovedOrder, type PartitionAddress, requireApproval } from '../approvals.ts';
import { archiveList, changeHsmPolicy, hsmInit, hsmShowPolicies, roleShow, stmRecover } from '../commands.ts';
import { withDevice } from '../device-lock.ts';
import type { Reply } from '../lunacm-session.ts';
import { vaultIn } from '../parse/archives.ts';
import { policiesIn } from '../parse/policies.ts';
import { roleStateIn } from '../parse/role-state.ts';
import type { Phrases } from '../phrases.ts';
import { read, selectUnder, verify } from '../selection.ts';
import { inReadingRun, inRun, type JobPorts, type Run } from './job-ports.ts';

export interface PrepareOrder {
  /** The device, and the label that it is to have. */
  readonly vault: PartitionAddress;
  /** Of its security officer. */
  readonly password: Secret;
  /** The cloning domain: that of the partitions to be backed up. */
  readonly domain: Secret;
  /** Policy 55. With it, backups are restored only to partitions of firmware 7.7 or later. */
  readonly restrictedRestore: boolean;
  /** Both strings that came with the device, apart from it. */
  readonly transport?: { readonly randomUserString: string; readonly verificationString: string };
  /** Called after each step. */
  readonly onStep?: (step: PrepareStep) => void;
}

export const PREPARATION = ['end transport mode', 'initialise', 'log in', 'set policy 55', 'look again'] as const;

export interface PrepareStep {
  readonly step: (typeof PREPARATION)[number];
  /**
   * `done` where this run did it, `was done` where an earlier one had. `left` where the device has backups already: nobody
   * has confirmed that a change of the policy spares them.
   */
  readonly state: 'done' | 'was done' | 'left' | 'differs' | 'refused' | 'declined' | 'unknown';
  /** A symbol or number of the device; empty if there is none. */
  readonly code: string;
}

export interface PrepareReport {
  /** `ready` only where the device shows all of it afterwards, in a run of its own. */
  readonly verdict: 'ready' | 'not ready';
  readonly steps: readonly PrepareStep[];
}

interface Seen {
  readonly phase: 'transport' | 'factory' | 'initialised';
  /** Undefined if no line says it. */
  readonly restrictedRestore: boolean | undefined;
}

const RESTRICTED_RESTORE = 55;

/** @throws LUNA_NOT_APPROVED, LUNA_HUMAN_NEEDED, LUNA_BUSY, and what stops it before anything is changed */
export async function prepareVault(
  order: PrepareOrder,
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<PrepareReport> {
  requireApproval({ action: 'prepare vault', target: order.vault }, approvals);
  return withDevice(order.vault.serial, ports, () => prepare(order, ports));
}

async function prepare(order: PrepareOrder, ports: JobPorts): Promise<PrepareReport> {
  const steps: PrepareStep[] = [];
  const told = (step: PrepareStep['step'], state: PrepareStep['state'], code = ''): boolean => {
    const one: PrepareStep = { step, state, code };
    steps.push(one);
    order.onStep?.(one);
    return state === 'done' || state === 'was done' || state === 'left';
  };
  const replied = (step: PrepareStep['step'], reply: Reply): boolean =>
    told(
      step,
      reply.outcome === 'failed' ? 'refused' : reply.outcome,
      reply.outcome === 'failed' ? reply.failure.code : '',
    );
  const isReady = async (): Promise<boolean> => {
    const seen = await look(order, ports);
    if (seen.phase !== 'transport') told('end transport mode', 'was done');
    else if (!replied('end transport mode', await endTransport(order, ports))) return false;
    const phase = seen.phase === 'transport' ? (await look(order, ports)).phase : seen.phase;
    if (phase === 'initialised') told('initialise', 'was done');
    else if (!replied('initialise', await initialise(order, ports))) return false;
    if (!(await setPolicy(order, ports, { told, replied }))) return false;
    const last = await look(order, ports);
    const isSo = last.phase === 'initialised' && last.restrictedRestore === order.restrictedRestore;
    return told('look again', isSo ? 'done' : 'differs');
  };
  return { verdict: (await isReady()) ? 'ready' : 'not ready', steps };
}

function look({ vault }: PrepareOrder, ports: JobPorts): Promise<Seen> {
  return inReadingRun('prepare-look', ports, (run) => seenIn(run, vault, ports.phrases));
}

/** @throws LUNA_REFUSED if the device is neither as it comes nor under the label that it is to have */
async function seenIn(run: Run, vault: PartitionAddress, phrases: Phrases): Promise<Seen> {
  const { session } = run;
  const { info } = await selectUnder(run, vault, ['', vault.label]);
  if (info.isInTransport) return { phase: 'transport', restrictedRestore: undefined };
  const { isInitialised } = roleStateIn(await read(session, roleShow('so')), phrases);
  const value = policiesIn(await read(session, hsmShowPolicies), phrases).values.get(RESTRICTED_RESTORE)?.value;
  const restrictedRestore = value === undefined ? undefined : value === 1;
  if (info.label === vault.label && isInitialised && !info.isZeroized)
    return { phase: 'initialised', restrictedRestore };
  if (info.label === '' && !isInitialised && info.isZeroized) return { phase: 'factory', restrictedRestore };
  throw new AntipodeError('LUNA_REFUSED', 'the device is neither in factory state nor initialised under its label', {
    details: { serial: vault.serial },
    hint: 'Look at it with `hsm showinfo` and `role show -name so`. Nothing was changed, and nothing initialises a device in this state.',
  });
}

/** The answer is `proceed` only where the tool shows the string that came with the device. */
async function endTransport({ vault, transport }: PrepareOrder, ports: JobPorts): Promise<Reply> {
  if (transport === undefined)
    throw new AntipodeError('LUNA_HUMAN_NEEDED', 'the device is in secure transport mode', {
      details: { serial: vault.serial },
      hint: 'Give both strings that its sender told you apart from the device. Nothing was changed.',
    });
  const { phrases } = ports;
  const isSame = (lines: readonly string[]): boolean => {
    const shown = lines.map((line) => phrases.verificationString.pattern.exec(line)?.[1]).filter(Boolean);
    return shown.length === 1 && shown[0]?.toUpperCase() === transport.verificationString.toUpperCase();
  };
  const { result, isSound } = await inRun('prepare-transport', ports, async (run) => {
    await selectUnder(run, vault, ['', vault.label]);
    return run.session.run(stmRecover(transport.randomUserString), { isApproved: isSame });
  });
  // A tool that does not ask has ended the mode, whatever the string was.
  if (result.outcome === 'done' && !(isSound && isSame(result.lines)))
    return { outcome: 'unknown', why: 'several trailers', lines: result.lines };
  return result;
}

async function initialise({ vault, password, domain }: PrepareOrder, ports: JobPorts): Promise<Reply> {
  const { result, isSound } = await inRun('prepare-initialise', ports, async (run) => {
    const { slot } = await selectUnder(run, vault, ['', vault.label]);
    const list = await run.session.run(archiveList(slot.number));
    const isEmpty = list.outcome !== 'done' || vaultIn(list.lines, ports.phrases).archives.length === 0;
    const { phase } = await seenIn(run, vault, ports.phrases);
    if (phase !== 'factory' || !isEmpty)
      throw new AntipodeError('LUNA_REFUSED', 'the device has something to lose, and is not initialised', {
        details: { serial: vault.serial },
        hint: 'Look at it with `hsm showinfo`, `role show -name so` and `partition archive list`. Nothing was changed.',
      });
    return run.session.run(hsmInit({ label: vault.label, password, domain }), { isApproved: true });
  });
  return result.outcome === 'done' && !isSound
    ? { outcome: 'unknown', why: 'several trailers', lines: result.lines }
    : result;
}

interface Telling {
  readonly told: (step: PrepareStep['step'], state: PrepareStep['state'], code?: string) => boolean;
  readonly replied: (step: PrepareStep['step'], reply: Reply) => boolean;
}

/** A login proves that the password is the officer's, even where an earlier run was cut short in between. */
async function setPolicy(
  { vault, password, restrictedRestore }: PrepareOrder,
  ports: JobPorts,
  { told, replied }: Telling,
): Promise<boolean> {
  const { result, isSound } = await inRun('prepare-policy', ports, async (run) => {
    const { slot } = await run.select(vault, 'device');
    await run.logIn({ role: 'so', password }, vault);
    told('log in', 'done');
    const { phase, restrictedRestore: found } = await seenIn(run, vault, ports.phrases);
    if (phase === 'initialised' && found === restrictedRestore) return 'was done';
    const { archives } = vaultIn(await read(run.session, archiveList(slot.number)), ports.phrases);
    if (archives.length > 0) return 'left';
    await verify(run.session, vault, { phrases: ports.phrases, shown: 'device' });
    const command = changeHsmPolicy({ policy: RESTRICTED_RESTORE, value: restrictedRestore ? 1 : 0 });
    return run.session.run(command, { isApproved: true });
  });
  if (typeof result === 'string') return told('set policy 55', result);
  return isSound ? replied('set policy 55', result) : told('set policy 55', 'unknown');
}
