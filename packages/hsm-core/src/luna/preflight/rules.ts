/**
 * Whether a move of objects can succeed, by what both ends show before anything is changed. Nothing here asks a device.
 * A rule that cannot be judged by what was read is *not known*, and never *fits*.
 */
import type { Role } from '../commands.ts';
import { primaryMaskingKey } from '../parse/partition-info.ts';
import {
  fails,
  firmwareOf,
  fits,
  isAtLeast,
  isVault,
  type Judged,
  nameOf,
  POLICY,
  type PreflightFacts,
  type PreflightRow,
  partitionsOf,
  policyOf,
  protocolsOf,
  type Rule,
  sides,
  unknown,
  worstOf,
} from './facts.ts';

/** The most partitions that a Backup HSM has. */
const BACKUPS_MAX = 100;

/** CPv4 refuses a clock that was not set. How far it can be off is not known. */
const CLOCK_SECONDS_MAX = 60;

/** Time enough for a change of certificates by people at several sites. */
const CERTIFICATE_SOON_MS = 30 * 86_400_000;

const RENEW =
  'Make a new one, and register it at the other end of the link (`clientconfig deploy`, or `vtl` of the client), before the old one ends. Every copy stops with it.';

function certificateRule({ certificates = [], nowMs }: PreflightFacts): Judged | undefined {
  return worstOf(
    certificates.map(({ file, name, notAfterMs }) => {
      if (notAfterMs === undefined)
        return unknown(`${file} has no certificate that can be read`, 'Look at it with `openssl x509 -enddate`.');
      const found = `${name || file} until ${new Date(notAfterMs).toISOString().slice(0, 10)}`;
      if (notAfterMs <= nowMs) return fails(found, RENEW);
      return notAfterMs - nowMs < CERTIFICATE_SOON_MS ? { ...fits(found), advice: RENEW } : fits(found);
    }),
  );
}

/** Policy that must be on at each partition. A device leaves out a policy whose capability is off. */
function cloningPolicy(facts: PreflightFacts, number: number, what: string): Judged | undefined {
  return worstOf(
    partitionsOf(facts).map((side) => {
      const value = policyOf(side, number);
      const found = `${nameOf(side)}: policy ${number} ${value ?? 'not listed'}`;
      if (value === undefined)
        return unknown(found, `Look at the capabilities of this partition: it may clone no ${what}.`);
      return value === 0
        ? fails(found, `Have the partition officer set policy ${number} to 1, if the keys in it may be cloned at all.`)
        : fits(found);
    }),
  );
}

const roleRule = (facts: PreflightFacts): Judged | undefined =>
  worstOf(
    sides(facts).map((side) => {
      const role: Role = isVault(facts, side) ? 'so' : 'co';
      const state = side.roles.get(role);
      const name = `${nameOf(side)}: ${role}`;
      if (state === undefined) return unknown(`${name} not read`, `Look at it with \`role show -name ${role}\`.`);
      if (!state.isInitialised) return fails(`${name} not initialised`, 'Have its officer initialise the role.');
      if (state.isLocked)
        return fails(`${name} locked`, 'Have its officer reset it, or log in once if the lock has lapsed.');
      if (state.attemptsLeft === undefined) return unknown(`${name} shows no attempts`, 'Log in once by hand.');
      return state.attemptsLeft < facts.attemptsFloor
        ? fails(`${name} has ${state.attemptsLeft} attempts left`, 'Log in once by hand with the right password.')
        : fits(`${name} ready`);
    }),
  );

/** Without CPv4 a clock keeps nothing from moving. One that is off confuses whoever compares the logs of both ends. */
function clockDifference(facts: PreflightFacts): Judged | undefined {
  return worstOf(
    sides(facts).flatMap((side): Judged[] => {
      const seconds = side.info.clockDifferenceSeconds;
      if (seconds === undefined) return [];
      const found = `${nameOf(side)}: ${seconds} s from its host`;
      return [
        seconds <= CLOCK_SECONDS_MAX ? fits(found) : { ...fits(found), advice: 'Have its officer set the clock.' },
      ];
    }),
  );
}

export const PREFLIGHT_RULES: readonly Rule[] = [
  {
    rule: 'members visible',
    source: 'the client configuration (HAOnly)',
    judge: ({ isHaOnly }) =>
      isHaOnly
        ? fails('HAOnly = 1', 'Give this program a client configuration of its own, with `HAOnly = 0`.')
        : fits('HAOnly is off'),
  },
  {
    rule: 'certificates',
    source: 'the client configuration (LunaSA Client), and the certificates that it names',
    judge: certificateRule,
  },
  {
    rule: 'state of the devices',
    source: 'vendor pages of showinfo and stm recover',
    judge: (facts) =>
      worstOf(
        sides(facts).map((side) => {
          const { isZeroized, isInTransport } = side.info;
          if (isInTransport) return fails(`${nameOf(side)}: transport mode`, 'End it with `stm recover` first.');
          return isZeroized
            ? fails(`${nameOf(side)}: zeroized`, 'Initialise it first.')
            : fits(`${nameOf(side)}: in use`);
        }),
      ),
  },
  {
    rule: 'cloning domain',
    source: 'vendor pages of partition archive',
    judge: () =>
      unknown(
        'no device shows it',
        'Compare the records of both initialisations. Another domain shows as CKR_CERTIFICATE_INVALID, and changes nothing but an empty backup.',
      ),
  },
  {
    rule: 'masking key',
    source: 'vendor pages of SKS and of partition showinfo',
    judge: (facts) => {
      if (facts.move !== 'clone') return undefined;
      const [here, there] = [primaryMaskingKey(facts.from.info), primaryMaskingKey(facts.to.info)];
      if (here === undefined && there === undefined) return fits('none at either end');
      if (here === there) return fits('the same');
      return here === undefined || there === undefined
        ? unknown('at one end only', 'It matters for V1 partitions: blobs under it cannot be read at the other end.')
        : fails(
            'different',
            'On V1 partitions, save the key of the target and clone that of the source (`partition smkclone`).',
          );
    },
  },
  {
    rule: 'private key cloning',
    source: 'vendor page of cloning and key export',
    judge: (facts) => {
      const judged = cloningPolicy(facts, POLICY.privateCloning, 'private keys');
      const wraps = partitionsOf(facts).some(
        (side) => policyOf(side, POLICY.privateCloning) === 0 && policyOf(side, POLICY.privateWrapping) === 1,
      );
      return judged !== undefined && wraps
        ? {
            ...judged,
            advice: 'Policy 1 is on: this partition wraps private keys instead. Replicate them by wrapping.',
          }
        : judged;
    },
  },
  {
    rule: 'secret key cloning',
    source: 'vendor page of cloning and key export',
    judge: (facts) => cloningPolicy(facts, POLICY.secretCloning, 'secret keys'),
  },
  {
    rule: 'cloning protocol',
    source: 'vendor pages of CPv1, CPv3, CPv4 and of firmware 7.7.1',
    judge: (facts) => {
      const [here, there] = sides(facts).map((side) => protocolsOf(facts, side));
      const shown = (found: ReadonlySet<number> | undefined): string =>
        found === undefined ? '?' : [...found].map((number) => `CPv${number}`).join(' or ');
      const found = `${shown(here)} here, ${shown(there)} there`;
      if (here === undefined || there === undefined) return unknown(found, 'Read firmware and policy 42 of both ends.');
      return [...here].some((number) => there.has(number))
        ? fits(found)
        : fails(found, 'Set policy 42 (CPv1) alike at both ends, or bring both ends to firmware 7.7 or later.');
    },
  },
  {
    rule: 'restricted restore',
    source: 'release notes of Backup HSM firmware 7.7.1',
    judge: (facts) => {
      if (facts.move !== 'restore') return undefined;
      const value = policyOf(facts.from, POLICY.restrictedRestore);
      if (value === undefined) return unknown('policy 55 not listed', 'Look at it with `hsm showpolicies`.');
      if (value === 0) return fits('policy 55 is 0');
      const spoken = protocolsOf(facts, facts.to);
      if (spoken === undefined) return unknown('policy 55 is 1', 'Read firmware and policy 42 of the target.');
      return spoken.has(3)
        ? fits('policy 55 is 1, and the target speaks CPv3')
        : fails(
            'policy 55 is 1, and the target speaks CPv1 only',
            'Restore into a partition of firmware 7.7 or later with policy 42 off.',
          );
    },
  },
  {
    rule: 'firmware order',
    source: 'vendor page of partition archive restore',
    judge: ({ from, to, move }) => {
      if (move === 'backup') return undefined;
      const found = `${from.slot.firmware || '?'} to ${to.slot.firmware || '?'}`;
      if (move === 'restore')
        return unknown(
          `the backup does not show the firmware of its source; target ${to.slot.firmware || '?'}`,
          'A backup restores to the firmware of its source or to a newer one.',
        );
      const [here, there] = [firmwareOf(from.slot.firmware), firmwareOf(to.slot.firmware)];
      if (here === undefined || there === undefined) return unknown(found, 'Read both with `slot list`.');
      return isAtLeast(there, here)
        ? fits(found)
        : unknown(found, 'The vendor refuses restores to older firmware. Whether a clone is refused is not confirmed.');
    },
  },
  {
    rule: 'authentication',
    source: 'vendor pages of backup and restore, and of universal cloning',
    judge: (facts) => {
      const [here, there] = sides(facts).map(({ slot }) => slot.isPed);
      const shown = (isPed: boolean | undefined): string => (isPed === undefined ? '?' : isPed ? 'PED' : 'password');
      const found = `${shown(here)} here, ${shown(there)} there`;
      if (here === undefined || there === undefined) return unknown(found, 'Read the configuration of both slots.');
      if (here === there) return fits(found);
      const isUniversal = sides(facts).every((side) => protocolsOf(facts, side)?.has(4) === true);
      return isUniversal
        ? unknown(found, 'Universal cloning allows it, if both ends share one of their domains.')
        : fails(found, 'Password and multifactor cannot be mixed before firmware 7.8 with client 10.5.');
    },
  },
  {
    rule: 'FIPS mode',
    source: 'vendor page of partition archive restore',
    judge: (facts) => {
      const [here, there] = sides(facts).map(({ info }) => info.isFips);
      const shown = (isFips: boolean | undefined): string => (isFips === undefined ? '?' : isFips ? 'on' : 'off');
      const found = `${shown(here)} here, ${shown(there)} there`;
      if (here === undefined || there === undefined) return unknown(found, 'Read it with `partition showinfo`.');
      return here && !there
        ? unknown(found, 'Moves to lower security can be refused. Bring both ends into the same mode.')
        : fits(found);
    },
  },
  {
    rule: 'functionality modules',
    source: 'vendor pages of cloning and of system messages',
    judge: (facts) => {
      const [here, there] = sides(facts).map(({ info }) => info.hasFm);
      const shown = (hasFm: boolean | undefined): string => (hasFm === undefined ? '?' : hasFm ? 'on' : 'off');
      const found = `${shown(here)} here, ${shown(there)} there`;
      if (there === false) return fits(found);
      if (there === undefined || here === undefined)
        return unknown(
          found,
          'Ask whoever runs the appliance: keys do not go into a device with modules from one without.',
        );
      return here ? fits(found) : fails(found, 'Take a target without functionality modules.');
    },
  },
  {
    rule: 'space',
    source: 'vendor pages of partition archive backup',
    judge: ({ move, from, to, vault, archive }) => {
      const needed =
        move === 'restore' ? vault?.archives.find(({ name }) => name === archive)?.usedBytes : from.info.usedBytes;
      const free = move === 'backup' ? vault?.freeBytes : to.info.freeBytes;
      const found = `${needed ?? '?'} bytes needed, ${free ?? '?'} free`;
      if (needed === undefined || free === undefined) return unknown(found, 'Read both ends again.');
      return free > 0 && free >= needed
        ? fits(found)
        : fails(
            found,
            'Delete objects or backups that nobody needs. A backup that was cut short can hold all the space.',
          );
    },
  },
  {
    rule: 'number of backups',
    source: 'a guide to Backup HSMs',
    judge: ({ move, vault }) => {
      if (move !== 'backup') return undefined;
      if (vault === undefined) return unknown('the vault was not listed', 'Look at it with `partition archive list`.');
      const found = `${vault.archives.length} of ${BACKUPS_MAX}`;
      return vault.archives.length < BACKUPS_MAX ? fits(found) : fails(found, 'Delete backups that nobody needs.');
    },
  },
  {
    rule: 'roles and attempts',
    source: 'vendor pages of role show and role login',
    judge: roleRule,
  },
  {
    rule: 'clocks',
    source: 'vendor page of CPv4',
    judge: (facts) => {
      if (!sides(facts).every((side) => protocolsOf(facts, side)?.has(4) === true)) return clockDifference(facts);
      return worstOf(
        sides(facts).map((side) => {
          const seconds = side.info.clockDifferenceSeconds;
          const found = `${nameOf(side)}: ${seconds ?? '?'} s from its host`;
          return seconds !== undefined && seconds <= CLOCK_SECONDS_MAX
            ? fits(found)
            : unknown(found, 'Have the HSM officer set the clock of the device: CPv4 needs it.');
        }),
      );
    },
  },
];

/** Every rule that applies to the move, in the order in which people would look. */
export function preflightOf(facts: PreflightFacts): PreflightRow[] {
  return PREFLIGHT_RULES.flatMap(({ rule, source, judge }) => {
    const judged = judge(facts);
    return judged === undefined ? [] : [{ rule, source, ...judged }];
  });
}
