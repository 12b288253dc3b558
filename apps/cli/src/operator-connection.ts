/** The operator's connection to the coordinator, and waiting for operations with progress. */
import { existsSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import {
  authorise,
  type Client,
  type CoordinatorAddress,
  coordinatorsFrom,
  createClient,
  isName,
  isUnreachable,
  LeaderFinder,
  NAME_EXPECTED,
  namesOfCoordinators,
  type Operation,
  OperatorService,
  RevocationBook,
  type RevocationRules,
  revocationSchema,
  Tls,
  warningsOf,
} from '@antipode/protocol';
import {
  ADDRESS_EXPECTED,
  AntipodeError,
  hasCode,
  isAddress,
  isErrorCode,
  loadConfig,
  systemClock,
  within,
} from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';
import { z } from 'zod';
import { type Output, warn } from './output.ts';
import { RevocationDesk } from './revocations/revocation-desk.ts';

const coordinator = z.strictObject({
  id: z.string().refine(isName, NAME_EXPECTED),
  address: z.string().refine(isAddress, ADDRESS_EXPECTED),
});

const schema = z
  .strictObject({
    /** All coordinators: commands find the one that leads. `coordinator` names a single one. */
    coordinators: z.array(coordinator).min(1).optional(),
    coordinator: coordinator.optional(),
    /** The agent of this site, which says where a group is served while no coordinator answers. */
    agent: z
      .strictObject({
        site: z.string().refine(isName, NAME_EXPECTED),
        address: z.string().refine(isAddress, ADDRESS_EXPECTED),
      })
      .optional(),
    /** The operators who may revoke certificates (docs/howto/revocation.md): commands refuse revoked coordinators. */
    revocation: revocationSchema.optional(),
    tls: z.strictObject({ ca: z.string().min(1), certificate: z.string().min(1), key: z.string().min(1) }),
  })
  .transform(({ coordinator, coordinators, ...rest }, context) => {
    const found = coordinatorsFrom({ coordinator, coordinators });
    if ('list' in found) return { ...rest, coordinators: found.list };
    context.addIssue({ code: 'custom', path: ['coordinators'], message: found.fault });
    return z.NEVER;
  });

export type OperatorConfig = z.output<typeof schema> & {
  /** The list of revoked certificates, beside the configuration. */
  readonly revocationsFile: string;
};

export type Operator = Client<typeof OperatorService>;

/** The file given, `$ANTIPODE_CONFIG`, `./operator.yaml`, `./application.yaml`, or the operator's in the home folder. */
export function operatorConfigFile(given: string | undefined): string {
  const candidates = [
    given ?? process.env['ANTIPODE_CONFIG'],
    'operator.yaml',
    'application.yaml',
    join(homedir(), '.config/antipode/operator.yaml'),
  ];
  const [first] = candidates;
  if (first !== undefined) return first;
  const found = candidates.find((path) => path !== undefined && existsSync(path));
  if (found !== undefined) return found;
  throw new AntipodeError(
    'CONFIG_INVALID',
    'found no operator.yaml or application.yaml in this folder, and no operator.yaml in ~/.config/antipode',
    {
      details: { path: 'operator.yaml' },
      hint: 'Name the file with --config or $ANTIPODE_CONFIG, or make one with `antipode init operator` or `antipode init application`.',
    },
  );
}

/** With its paths as they are from here. @throws CONFIG_INVALID */
export function loadOperatorConfig(file: string): OperatorConfig {
  const config = loadConfig(file, schema);
  const from = (path: string): string => resolve(dirname(file), path);
  return {
    ...config,
    tls: { ca: from(config.tls.ca), certificate: from(config.tls.certificate), key: from(config.tls.key) },
    revocationsFile: from('revocations.json'),
  };
}

/**
 * Its certificate, with a warning where it ends soon. With a `revocation` section it refuses revoked peers.
 * @throws CERTIFICATE_INVALID, REVOCATION_LIST_INVALID
 */
export function openTls({
  tls: { ca, certificate, key },
  revocation: rules,
  revocationsFile: file,
}: Pick<OperatorConfig, 'tls'> & {
  revocation?: RevocationRules | undefined;
  revocationsFile?: string;
}): Tls {
  const tls = new Tls({ caFile: ca, certificateFile: certificate, keyFile: key });
  for (const warning of warningsOf(tls.state, systemClock.wallMs()))
    warn(`${tls.identity.kind} ${tls.identity.name}: ${warning}.`);
  if (rules !== undefined && file !== undefined)
    tls.obey(new RevocationBook({ file, trustDomain: tls.identity.trustDomain, rules }));
  return tls;
}

/** A list that was looked for within this time is new enough. */
const LIST_AGE_MS_MAX = 60_000;
const LIST_MS_MAX = 2_000;

/** Asks all coordinators for a newer list. A list that does not count changes nothing, and silence neither. */
export async function refreshRevocations(
  config: Pick<OperatorConfig, 'coordinators' | 'agent' | 'revocationsFile'>,
  tls: Tls,
): Promise<void> {
  const book = tls.revocations;
  if (book === undefined) return;
  const lookedMs = statSync(config.revocationsFile, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (systemClock.wallMs() - lookedMs < LIST_AGE_MS_MAX) return;
  const desk = new RevocationDesk(config, { tls, timeoutMs: LIST_MS_MAX });
  try {
    const { newest } = await desk.read();
    if (newest !== undefined && newest.list.version > book.version) {
      book.take(newest.signed);
      if (book.problem !== '') warn(`${book.problem}.`);
    } else if (book.held !== undefined) touch(config.revocationsFile);
  } catch (thrown) {
    if (!(thrown instanceof AntipodeError)) throw thrown;
    warn(`the list of revoked certificates was not taken: ${thrown.message}`);
  } finally {
    desk.close();
  }
}

/** It was looked at. A folder of another user keeps its times. */
function touch(file: string): void {
  const now = new Date(systemClock.wallMs());
  try {
    utimesSync(file, now, now);
  } catch (cause) {
    if (!['EPERM', 'EACCES', 'EROFS'].includes((cause as NodeJS.ErrnoException).code ?? '')) throw cause;
  }
}

/** A method that a command ends with, after it has shown a plan and asked for a confirmation. */
type Order = 'Failover' | 'ReseatGroup' | 'ChangeGroup' | 'RunArchive' | 'ForgetSite' | 'ReadmitSite';

/**
 * @param options.orders refuses at once whoever must not give this order: nobody confirms what will be refused
 * @throws OPERATOR_ROLE_INSUFFICIENT; TIMED_OUT after `timeoutMs`, where that is given, whatever the connection is
 * waiting for
 */
export async function withOperator<T>(
  configFile: string | undefined,
  work: (operator: Operator) => Promise<T>,
  { timeoutMs, orders }: { timeoutMs?: number; orders?: Order | undefined } = {},
): Promise<T> {
  const file = operatorConfigFile(configFile);
  const config = loadOperatorConfig(file);
  const tls = openTls(config);
  const { identity } = tls;
  if (orders !== undefined)
    authorise(identity, { method: `OperatorService/${orders}`, trustDomain: identity.trustDomain });
  await refreshRevocations(config, tls);
  const { coordinators } = config;
  const finder = leaderFinder(config, tls, { patienceMs: TAKEOVER_MS_MAX, defaultTimeoutMs: timeoutMs });
  const operator = finder.client(OperatorService);
  try {
    if (timeoutMs === undefined) return await work(operator);
    return await within({ clock: systemClock, timeoutMs: timeoutMs + OWN_LIMIT_MS, what: 'the answer' }, () =>
      work(operator),
    );
  } catch (thrown) {
    if (timeoutMs === undefined || !hasCode(thrown, 'TIMED_OUT')) throw thrown;
    throw noAnswer({ coordinators, timeoutMs }, thrown);
  } finally {
    await finder.close();
  }
}

/** A call that waits for its answer ends first, by its own limit: its error has the id of the call. */
const OWN_LIMIT_MS = 250;

/** Another coordinator leads by then, with every timing profile. */
const TAKEOVER_MS_MAX = 10_000;

/** Makes connections to the coordinators of a configuration, one each. */
export const dialCoordinator =
  (
    tls: Tls,
    { defaultTimeoutMs, hasCallIds = true }: { defaultTimeoutMs?: number | undefined; hasCallIds?: boolean } = {},
  ) =>
  <Service extends DescService>(service: Service, { id, address }: CoordinatorAddress): Client<Service> =>
    createClient(service, {
      address,
      tls,
      expected: { kind: 'coordinator', name: id },
      hasCallIds,
      ...(defaultTimeoutMs === undefined ? {} : { defaultTimeoutMs }),
    });

/** Finds the coordinator that leads, among those of the configuration. */
export const leaderFinder = (
  { coordinators }: Pick<OperatorConfig, 'coordinators'>,
  tls: Tls,
  {
    patienceMs = 0,
    ...dialling
  }: { patienceMs?: number; defaultTimeoutMs?: number | undefined; hasCallIds?: boolean } = {},
): LeaderFinder =>
  new LeaderFinder({
    coordinators,
    patienceMs,
    dial: dialCoordinator(tls, dialling),
  });

/** Of a call that changes nothing. */
export function noAnswer(
  { coordinators, timeoutMs }: { coordinators: readonly CoordinatorAddress[]; timeoutMs: number },
  cause: unknown,
): AntipodeError {
  const names = namesOfCoordinators(coordinators);
  return new AntipodeError('TIMED_OUT', `no answer from coordinator ${names} in ${timeoutMs / 1_000} s`, {
    details: { coordinators: coordinators.map(({ id }) => id).join(','), timeoutMs },
    cause,
    hint: 'Check the coordinator and the connection to it, or wait longer with --timeout. Nothing was changed.',
  });
}

const POLL_MS = 10_000;

/** How long the coordinator may hold an answer back: whole milliseconds on the wire, and at least one. */
const waitMsOf = (leftMs: number): number => Math.ceil(Math.max(1, Math.min(POLL_MS, leftMs)));

/** A coordinator that restarts answers within seconds. If it takes longer, a person should look. */
const PATIENCE_MS = 20_000;
const AGAIN_MS = 250;

/**
 * Repeats a call that got no answer: connections end at their maximum age, even during a call, and a coordinator can
 * restart. Only for calls that read.
 */
async function asked<T>(leftMs: number, call: () => Promise<T>): Promise<T> {
  const endMs = systemClock.monotonicMs() + Math.min(leftMs, PATIENCE_MS);
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      const isPassing = isUnreachable(thrown) || hasCode(thrown, 'NOT_LEADER');
      if (!isPassing || systemClock.monotonicMs() >= endMs) throw thrown;
      await systemClock.sleep(AGAIN_MS);
    }
  }
}

/** Follows an operation to its end, telling each phase. @throws its own error, or TIMED_OUT when it is still under way */
export async function follow(
  operator: Pick<Operator, 'getOperation'>,
  operationId: string,
  { output, timeoutMs }: { output?: Output | undefined; timeoutMs: number },
): Promise<Operation> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  let seen = '';
  let errorCode = '';
  for (;;) {
    const leftMs = endMs - systemClock.monotonicMs();
    const { operation } = await asked(leftMs, () =>
      operator.getOperation({ operationId, waitMs: waitMsOf(leftMs), seenPhase: seen }, { timeoutMs: POLL_MS * 2 }),
    );
    if (operation === undefined)
      throw new AntipodeError('NOT_FOUND', `operation ${operationId} does not exist`, {
        details: { operation: operationId },
      });
    if (operation.phase !== seen) output?.note(`  ${operation.kind}: ${operation.phase}`);
    if (operation.errorCode !== errorCode && operation.status === 'open')
      output?.note(`  ${operation.kind}: ${operation.errorMessage} (attempt ${operation.attempts})`);
    seen = operation.phase;
    errorCode = operation.errorCode;
    if (operation.status === 'done') return operation;
    if (operation.status !== 'open') throw errorOf(operation);
    if (leftMs <= 0)
      throw new AntipodeError(
        'TIMED_OUT',
        `${operation.kind} ${operationId} has not ended after ${timeoutMs / 1_000} s: it is in phase ${operation.phase}, and continues`,
        {
          details: { operation: operationId },
          hint: `Run \`antipode operation show ${operationId.slice(0, 8)}\` to follow it. Do not repeat the command while it runs.`,
        },
      );
  }
}

export function errorOf({ id, errorCode, errorMessage, hint, kind, phase, status }: Operation): AntipodeError {
  // Whatever failed on the way, and was tried again: that is not why it ended.
  if (status === 'cancelled')
    return new AntipodeError(
      'OPERATION_CANCELLED',
      `the ${kind} was cancelled or replaced while it was in phase ${phase}`,
      {
        details: { operation: id },
      },
    );
  const code = isErrorCode(errorCode) ? errorCode : 'TIMED_OUT';
  return new AntipodeError(code, errorMessage.replace(`[${code}] `, '') || `${kind} ended as ${phase}`, {
    details: { operation: id },
    // Of this failure, where the coordinator knows more than the catalogue.
    ...(hint === '' ? {} : { hint }),
  });
}
