/**
 * The device cloner of a Luna partition: has `partition clone` copy single objects from a partition that the client of
 * this one sees too (ADR 0058). It judges by the lists of both sides, and never by the text of the move.
 */
import { AntipodeError, type Clock, hasCode, type Secret, SerialQueue, sha256 } from '@antipode/runtime';
import type { ObjectClass } from '../../model/object.ts';
import {
  bareSerial,
  type DeviceCloner,
  type DeviceMove,
  type ListedName,
  nameKey,
  nameOf,
} from '../../provider/device-cloner.ts';
import type { NativeObject } from '../../provider/native-cloner.ts';
import type { Refusal } from '../../provider/restorer.ts';
import type { PartitionAddress } from '../approvals.ts';
import { LunaDriver } from '../driver.ts';
import { jobPortsOf, type LunaClient } from '../luna-client.ts';
import type { MoveReport, Why } from '../move-report.ts';
import type { ListedObject } from '../parse/contents.ts';
import { readPhrases } from '../phrases.ts';

/** A partition that a client sees, and the file with the password of its crypto officer. */
export interface SeenPartition extends PartitionAddress {
  readonly pinFile: string;
}

/** How one partition clones. */
export interface LunaCloning {
  readonly kind: 'luna';
  readonly client: LunaClient;
  /** The name that people have given to the cloning domain. */
  readonly domain: string;
  /** Of this partition, where `lunacm` shows others than PKCS#11. */
  readonly serial?: string;
  readonly label?: string;
  readonly sources: readonly SeenPartition[];
}

export interface LunaClonerOptions {
  readonly native: LunaCloning;
  /** Of this partition, as PKCS#11 shows it. */
  readonly token: PartitionAddress;
  readonly pinFile: string;
  /** Read for each call, and wiped. */
  readonly readPin: (file: string) => Secret;
  readonly clock: Clock;
  /** Called while the tool is at work. */
  readonly onOutput?: () => void;
}

/** No command shows an identifier of a domain. So its members name it, and a device refuses what is of another one. */
export const lunaDomainOf = (name: string): Uint8Array =>
  sha256(Buffer.from(`antipode luna cloning domain v1\0${name}`));

/** The address of a partition in lists of `lunacm`. @throws CONFIG_INVALID if it is another partition than its token */
export function ownAddressOf({ native, token }: Pick<LunaClonerOptions, 'native' | 'token'>): PartitionAddress {
  const { serial = bareSerial(token.serial), label = token.label } = native;
  if (bareSerial(serial) !== bareSerial(token.serial))
    throw new AntipodeError('CONFIG_INVALID', `native.serial names ${serial}, expected that of the token`, {
      details: { field: 'native.serial', serial: token.serial },
      hint: 'Compare both with `slot list` of lunacm: the partition of PKCS#11 and that of `native` must be the same one.',
    });
  return { serial, label };
}

/** @throws CONFIG_INVALID, FILE_UNWRITABLE */
export function openLunaCloner(options: LunaClonerOptions): DeviceCloner {
  const { native, clock, onOutput = () => {} } = options;
  const own = ownAddressOf(options);
  /** One copy at a time has the files of its jobs. */
  const queue = new SerialQueue();
  const driverFor = (signal: AbortSignal | undefined): LunaDriver =>
    new LunaDriver(jobPortsOf(native.client, { clock, onOutput, worker: `clone-${own.serial}`, signal }));
  const preflights = new Preflights(clock);
  // A folder that nobody can write is seen now.
  driverFor(undefined);
  const domain = lunaDomainOf(native.domain);
  return {
    shape: 'device',
    kind: 'luna',
    domain: async () => domain,
    sources: native.sources.map(({ serial }) => serial).filter((serial) => serial !== own.serial),
    clone: async (serial, objects, signal) => {
      const source = native.sources.find((one) => one.serial === serial);
      return source === undefined
        ? refusing(objects, { code: 'NATIVE_SOURCE_UNREACHED' })
        : queue.run(() => {
            const driver = driverFor(signal);
            const preflight = () => preflights.rulesAgainst(driver, { from: source, to: own });
            return cloneFrom(source, { own, driver, options, objects, signal, preflight });
          });
    },
  };
}

/** Both ends are compared before a copy, and again after so long: each comparison starts the tool three times. */
const PREFLIGHT_MS = 3_600_000;

/**
 * Keys that arrive are used before they count, and none of them is a blob under a masking key. So this rule does not
 * keep a copy from being tried.
 */
const JUDGED_BY_USE = ['masking key'];

class Preflights {
  readonly #clock: Clock;
  /** When each source fitted last. */
  readonly #fitted = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined where none is known: what cannot be read keeps no key from being copied. */
  async rulesAgainst(
    driver: LunaDriver,
    { from, to }: { from: PartitionAddress; to: PartitionAddress },
  ): Promise<string | undefined> {
    const fittedMs = this.#fitted.get(from.serial);
    if (fittedMs !== undefined && this.#clock.monotonicMs() - fittedMs < PREFLIGHT_MS) return undefined;
    try {
      await driver.requireFit({ move: 'clone', from, to }, { except: JUDGED_BY_USE });
      this.#fitted.set(from.serial, this.#clock.monotonicMs());
      return undefined;
    } catch (thrown) {
      if (!(thrown instanceof AntipodeError)) throw thrown;
      const { rules } = thrown.details;
      return rules === undefined ? undefined : `preflight: ${String(rules)}`;
    }
  }
}

/** Failures before anything was moved. Each leaves the partition as it was, and can be gone at the next try. */
const NOT_REACHED = [
  'LUNA_UNREACHED',
  'LUNA_OUTPUT_UNCLEAR',
  'LUNA_REFUSED',
  'LUNA_OUTCOME_UNKNOWN',
  'LUNA_SLOT_VIRTUAL',
  'LUNA_HUMAN_NEEDED',
  'LUNA_BUSY',
  'PARTITION_NOT_FOUND',
  'PIN_LOCKED',
  'PIN_REFUSED',
  'PIN_FILE_UNREADABLE',
  'PIN_FILE_EXPOSED',
  'CONFIG_INVALID',
] as const;

/** Standbys log in at one source at the same time, and only one of them can. The others wait this often, and no more. */
const TURNS_MAX = 30;
const TURN_MS = 1_000;

async function whenFree<T>(clock: Clock, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  for (let turn = 1; ; turn += 1)
    try {
      return await work();
    } catch (thrown) {
      if (!hasCode(thrown, 'LUNA_BUSY') || turn === TURNS_MAX || signal?.aborted) throw thrown;
      await clock.sleep(TURN_MS, signal);
    }
}

const refusing = (objects: readonly NativeObject[], refusal: Refusal): DeviceMove => ({
  refusals: objects.map(() => refusal),
  brought: [],
});

async function cloneFrom(
  source: SeenPartition,
  {
    own,
    driver,
    options,
    objects,
    signal,
    preflight,
  }: {
    own: PartitionAddress;
    driver: LunaDriver;
    options: LunaClonerOptions;
    objects: readonly NativeObject[];
    signal: AbortSignal | undefined;
    /** The rules by which the copy will fail. */
    preflight: () => Promise<string | undefined>;
  },
): Promise<DeviceMove> {
  const wanted = new Set(objects.map((object) => nameKey(nameOf(object))));
  const secrets: Secret[] = [];
  const secretOf = (file: string): Secret => {
    const secret = options.readPin(file);
    secrets.push(secret);
    return secret;
  };
  /** Names of objects of the source that are here already, as their UIDs show. */
  const present = new Set<string>();
  try {
    const unfit = await preflight();
    if (unfit !== undefined) return refusing(objects, { code: 'NATIVE_NOT_CLONED', returnValue: unfit });
    const password = secretOf(options.pinFile);
    const report = await whenFree(options.clock, signal, () =>
      driver.clone({
        source: {
          address: { serial: source.serial, label: source.label },
          login: { role: 'co', password: secretOf(source.pinFile) },
        },
        target: { address: own, login: { role: 'co', password }, password },
        choose: (listed, here) => {
          const uids = new Set(here.map(({ uid }) => uid));
          return listed.filter((object) => {
            const name = listedName(object);
            if (name === undefined || !wanted.has(nameKey(name))) return false;
            const isHere = uids.has(object.uid);
            if (isHere) present.add(nameKey(name));
            return !isHere;
          });
        },
      }),
    );
    return moveOf(report, { objects, present });
  } catch (thrown) {
    if (!hasCode(thrown, ...NOT_REACHED)) throw thrown;
    return refusing(objects, { code: 'NATIVE_SOURCE_UNREACHED', returnValue: thrown.code });
  } finally {
    for (const secret of secrets) secret.wipe();
  }
}

const PHRASES = readPhrases();

/** The classes that move this way, by the words of the lists. */
function classOf(type: string): ObjectClass | undefined {
  if (PHRASES.privateKeyType.pattern.test(type)) return 'private-key';
  return PHRASES.secretKeyType.pattern.test(type) ? 'secret-key' : undefined;
}

function listedName({ type, label }: ListedObject): ListedName | undefined {
  const objectClass = classOf(type);
  return objectClass && { objectClass, label: label.trim() };
}

const CODE_OF: Partial<Record<Why, Refusal['code']>> = { domainMismatch: 'CLONING_DOMAIN_OTHER', noSpace: 'HSM_FULL' };

function moveOf(
  { objects: moved, why, code, brought = [] }: MoveReport,
  { objects, present }: { objects: readonly NativeObject[]; present: ReadonlySet<string> },
): DeviceMove {
  const byName = Map.groupBy(moved, ({ object }) => {
    const name = listedName(object);
    return name === undefined ? '' : nameKey(name);
  });
  return {
    refusals: objects.map((object): Refusal | undefined => {
      const key = nameKey(nameOf(object));
      const copies = byName.get(key) ?? [];
      if (copies.some(({ state }) => state === 'moved' || state === 'unknown')) return undefined;
      const reason =
        copies.find(({ refusal }) => refusal !== undefined)?.refusal ?? (copies.length > 0 ? why : undefined);
      const said = reason === undefined ? (present.has(key) ? 'duplicate' : 'absent') : code || reason;
      return { code: (reason && CODE_OF[reason]) ?? 'NATIVE_NOT_CLONED', returnValue: said };
    }),
    brought: brought.flatMap((object) => listedName(object) ?? []),
  };
}
