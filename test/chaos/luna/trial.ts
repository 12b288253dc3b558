/** One seed: devices, a build of the tool, faults and jobs by chance, and what the driver claimed about them. */
import type { ApprovedOrder, KeepReport, MoveReport, PrepareReport } from '@antipode/hsm-core/luna';
import { AntipodeError, type Prng, seededPrng, systemClock } from '@antipode/runtime';
import { verificationOf } from '../../emulators/lunacm/commands/hsm.ts';
import { hashOf } from '../../emulators/lunacm/devices.ts';
import { DIALECTS } from '../../emulators/lunacm/dialect.ts';
import type { Fault } from '../../emulators/lunacm/faults.ts';
import { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { type JobRecord, judge } from './judge.ts';

const SYMBOLS = ['CKR_DEVICE_ERROR', 'CKR_CERTIFICATE_INVALID', 'CKR_OBJECT_ALREADY_EXISTS', 'CKR_FUNCTION_FAILED'];
const COMMANDS = [
  ...['partition archive backup', 'partition archive restore', 'partition clone', 'partition archive backup'],
  ...['partition contents', 'partition archive contents', 'partition archive list', 'partition showinfo'],
  ...['partition clear', 'partition archive delete', 'role login', 'role show', 'slot set', 'start', 'exit'],
];
/** Of seeds that are about a vault. */
const VAULT_COMMANDS = [
  ...COMMANDS,
  ...['stm recover', 'hsm init', 'hsm changehsmpolicy', 'hsm showinfo', 'hsm showpolicies'],
];

const DEEDS = ['fail', 'hang', 'die', 'slow', 'garble', 'skip', 'ask'] as const;
const LABELS = ['', 'key', 'key', 'lunacm:>', 'Command Result : No Error', 'a -> b: c', 'Schlüssel', 'Object UID: 0'];

export interface TrialResult {
  readonly seed: string;
  readonly violations: readonly string[];
  /** How often each verdict or error was reached, so that a campaign that tests nothing is seen. */
  readonly outcomes: Readonly<Record<string, number>>;
}

/**
 * A seed that begins with `vault` takes a Backup HSM into use and keeps generations in it too.
 * @param options `isReal` runs the tool in processes, under real time with short limits: ten times as long, and no replay
 */
export async function runTrial(seed: string, { isReal = false }: { isReal?: boolean } = {}): Promise<TrialResult> {
  const prng = seededPrng(seed);
  const isVault = seed.startsWith('vault');
  const site = siteOf(prng, { isReal, isVault });
  const violations: string[] = [];
  const outcomes: Record<string, number> = {};
  try {
    for (let job = 0; job < 5; job += 1) {
      if (chance(prng, 0.3)) permuteSlots(site, prng);
      const record = await runJob(site, prng, { job, isVault });
      const outcome = `${record.kind}: ${record.outcome}`;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (isReal && !(await areGone(site))) violations.push(`a process of the tool is left (job ${job})`);
      violations.push(...judge(site, record).map((violation) => `${violation} (job ${job}, ${outcome})`));
    }
  } finally {
    site.close();
  }
  return { seed, violations, outcomes };
}

/** The kernel takes a moment to end what was killed. */
async function areGone(site: LunaSite): Promise<boolean> {
  for (let turns = 0; turns < 200 && site.processes().length > 0; turns += 1) await systemClock.sleep(20);
  return site.processes().length === 0;
}

const pick = <T>(prng: Prng, values: readonly T[]): T => values[Math.floor(prng.fraction() * values.length)]!;
const chance = (prng: Prng, probability: number): boolean => prng.fraction() < probability;
const upTo = (prng: Prng, limit: number): number => Math.floor(prng.fraction() * (limit + 1));

function siteOf(prng: Prng, { isReal, isVault }: { isReal: boolean; isVault: boolean }): LunaSite {
  const site = new LunaSite({
    ...(isReal ? { clock: systemClock } : {}),
    logins: chance(prng, 0.75) ? 'ped' : 'password',
    settings: {
      dialect: pick(prng, DIALECTS),
      buffering: pick(prng, ['line', 'byte']),
      echo: chance(prng, 0.5),
      carriageReturns: chance(prng, 0.5),
      partialTrailer: pick(prng, ['failure', 'ok']),
    },
  });
  const size = 1 + upTo(prng, 60);
  site.launcher.cut = (bytes) =>
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
  for (const serial of ['154438865287', '154438865301', '532018'])
    site.replace(serial, {
      version: pick(prng, ['old', 'V0', 'V1']),
      keepsUid: chance(prng, 0.5),
      domain: chance(prng, 0.9) ? 'one' : 'two',
    });
  if (isVault && chance(prng, 0.5)) makeFactoryVault(site, prng);
  for (let count = upTo(prng, 7); count > 0; count -= 1) site.addKey(pick(prng, LABELS));
  for (let count = upTo(prng, 2); count > 0; count -= 1) site.addKey(pick(prng, LABELS), '154438865301');
  const faults = faultsOf(prng, isVault ? VAULT_COMMANDS : COMMANDS);
  site.fault(...(isReal ? faults.map((fault) => ({ ...fault, ms: 500 })) : faults));
  if (isReal) site.useDriver({ ...site.ports, settings: { isHaOnly: false, certificates: [], limits: SHORT_LIMITS } });
  return site;
}

/** Some of them under a label or with an officer, as no device comes: nobody may initialise these. */
function makeFactoryVault(site: LunaSite, prng: Prng): void {
  site.makeFactoryVault({ isInTransport: chance(prng, 0.5) });
  const odd = chance(prng, 0.3) ? pick(prng, ['label', 'officer', 'backup'] as const) : undefined;
  if (odd === 'label') site.replace('532018', { label: 'of somebody else' });
  if (odd === 'officer') site.replaceRole('532018', 'so', { isInitialised: true, hash: hashOf('of somebody else') });
  if (odd === 'backup')
    site.change('532018', ({ archives }) => {
      archives.push({ name: 'b-old', hash: '', domain: 'one', totalBytes: 300 });
    });
}

/** One damaged line for each command at most: nothing in a list could show two that agree with each other. */
function faultsOf(prng: Prng, commands: readonly string[]): Fault[] {
  const faults = Array.from({ length: 1 + upTo(prng, 4) }, (): Fault => {
    const command = pick(prng, commands);
    return {
      command,
      at: command === 'start' || command === 'exit' ? 0 : pick(prng, [0, 1, 1, 2, 3, 4, 'end']),
      do: pick(prng, DEEDS),
      symbol: pick(prng, SYMBOLS),
      ms: pick(prng, [1_000, 100_000, 400_000, 600_000]),
      // A fault in every start would leave nothing to look at.
      ...(chance(prng, 0.85) || command === 'start' ? { run: 1 + upTo(prng, 5) } : {}),
    };
  });
  return faults.filter(
    (fault, at) =>
      fault.do !== 'garble' ||
      faults.findIndex((other) => other.do === 'garble' && other.command === fault.command) === at,
  );
}

/** A machine that is busy makes some of them too short. The driver then knows less, and must claim less. */
const SHORT_LIMITS = { startMs: 6_000, commandMs: 4_000, cloningMs: 4_000, pedMs: 4_000, questionMs: 2_000 };

function permuteSlots(site: LunaSite, prng: Prng): void {
  site.devices.change((devices) => {
    const turn = 1 + upTo(prng, 1);
    const numbers = devices.slots.map(({ slot }) => slot);
    devices.slots = devices.slots.map(({ serial }, at) => ({ serial, slot: numbers[(at + turn) % numbers.length]! }));
  });
}

async function runJob(
  site: LunaSite,
  prng: Prng,
  { job, isVault }: { job: number; isVault: boolean },
): Promise<JobRecord> {
  const before = {
    lines: site.log.length,
    source: site.objects.list('154438865287'),
    target: site.objects.list('154438865301'),
    archives: new Map(namesOf(site).map((name) => [name, site.archived(name)])),
    vault: site.partition('532018'),
  };
  const kinds = [
    ...(['backup', 'backup', 'restore', 'restore', 'clone', 'clear', 'delete', 'contents', 'vault'] as const),
    ...(isVault ? (['keep', 'keep', 'keep', 'keep', 'prepare'] as const) : []),
  ];
  // A device in factory state can do nothing else.
  const wished = site.partition('532018').isZeroized ? 'prepare' : pick(prng, kinds);
  // Without a backup there is nothing to restore or to delete.
  const kind = namesOf(site).length === 0 && (wished === 'restore' || wished === 'delete') ? 'backup' : wished;
  const partition = kind === 'backup' ? `b${job}` : (pick(prng, namesOf(site)) ?? 'none');
  const approvals: ApprovedOrder[] = chance(prng, 0.7)
    ? [
        { action: 'clear', target: site.target.address },
        { action: 'delete backup', target: site.vault.address, partition },
        { action: 'prepare vault', target: site.vault.address },
        { action: 'expire own backups', target: site.vault.address, keep: KEEP },
      ]
    : [];
  const { driver, source, target, vault } = site;
  const isRight = isVault && chance(prng, 0.7);
  const record = (outcome: string, rest: Partial<JobRecord> = {}): JobRecord => ({
    ...{ kind, partition, outcome, before, isRight, approvals: [] },
    ...(['clear', 'delete', 'keep', 'prepare'].includes(kind) ? { approvals } : {}),
    ...rest,
  });
  const moved = async (work: Promise<MoveReport>): Promise<JobRecord> => {
    const report = await site.finish(work);
    return record(report.verdict, { report });
  };
  try {
    switch (kind) {
      case 'backup':
        return await moved(driver.backUp({ source, vault, partition, password: site.secret('backup') }));
      case 'restore':
        return await moved(driver.restore({ from: site.archive(partition), target }));
      case 'clone':
        return await moved(driver.clone({ source, target }));
      case 'clear':
        return record((await site.finish(driver.clear(target, approvals))).verdict);
      case 'delete':
        return record((await site.finish(driver.deleteArchive({ vault, partition }, approvals))).verdict);
      case 'keep': {
        const order = { source, vault, password: site.secret('backup'), keep: KEEP, prng };
        const { name, backup } = await site.finish<KeepReport>(driver.keepBackups(order, approvals));
        return record(backup.verdict, { report: backup, partition: name });
      }
      case 'prepare': {
        const verificationString = isRight ? verificationOf(site.partition('532018'), RANDOM) : 'AAAA-AAAA-AAAA-AAAA';
        const { verdict } = await site.finish<PrepareReport>(
          driver.prepareVault(
            {
              ...{ vault: vault.address, password: site.secret('vault'), domain: site.secret('domain') },
              restrictedRestore: chance(prng, 0.5),
              ...(chance(prng, 0.8) ? { transport: { randomUserString: RANDOM, verificationString } } : {}),
            },
            approvals,
          ),
        );
        return record(verdict);
      }
      case 'contents': {
        const { objects } = await site.finish(driver.contents(source.address, source.login));
        return record('listed', { uids: objects.map(({ uid }) => uid) });
      }
      case 'vault': {
        const { archives } = await site.finish(driver.vault(vault.address));
        return record('listed', { names: archives.map(({ name }) => name) });
      }
    }
  } catch (cause) {
    if (!(cause instanceof AntipodeError) || cause.disposition === 'defect') throw cause;
    return record(cause.code, { code: cause.code });
  }
}

/** As many complete backups as remain. */
const KEEP = 2;

const RANDOM = 'A1B2-C3D4-E5F6-G7H8';

const namesOf = (site: LunaSite): string[] =>
  site.devices
    .read()
    .partitions.find(({ serial }) => serial === '532018')!
    .archives.map(({ name }) => name);
