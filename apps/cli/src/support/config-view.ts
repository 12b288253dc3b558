/**
 * A configuration for a supporter: only settings that are named here, each only if it looks as it should. Everything else
 * is left out, whatever it is: a setting of a later release, a misspelt one, a password in the place of a path.
 */
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { isName } from '@antipode/protocol';
import { isAddress } from '@antipode/runtime';
import { parseDocument } from 'yaml';

export const LEFT_OUT = '(left out)';

type Rule = (value: unknown, place: { folder: string }) => unknown;
interface Shape {
  readonly [name: string]: Rule | Shape | readonly [Rule | Shape];
}

const fitting =
  (fits: (text: string) => boolean): Rule =>
  (value) =>
    typeof value === 'string' && fits(value) ? value : LEFT_OUT;
const name = fitting(isName);
const address = fitting(isAddress);
const number: Rule = (value) => (typeof value === 'number' ? value : LEFT_OUT);
const flag: Rule = (value) => (typeof value === 'boolean' ? value : LEFT_OUT);
const oneOf = (...words: readonly string[]): Rule => fitting((text) => words.includes(text));
/** Only of something that is there: the value of a path may be the secret itself. */
const path: Rule = (value, { folder }) =>
  typeof value === 'string' && value.length < 4_096 && existsSync(isAbsolute(value) ? value : resolve(folder, value))
    ? value
    : LEFT_OUT;
const serial = fitting((text) => /^[A-Za-z0-9 ]{1,32}$/.test(text));
const hidden: Rule = () => LEFT_OUT;
/** The server and no more: user, password, path and query may all be secret. */
const server: Rule = (value) => {
  if (typeof value !== 'string' || !URL.canParse(value)) return LEFT_OUT;
  const { protocol, host } = new URL(value);
  return `${protocol}//${host}/${LEFT_OUT}`;
};
const program: Rule = (value, place) => (Array.isArray(value) ? [path(value[0], place), LEFT_OUT] : LEFT_OUT);

const TLS = { ca: path, certificate: path, key: path };
const COORDINATOR = { id: name, address };
const HOOK = { name, timeoutSeconds: number, command: program, url: server, secretFile: path };
const LUNA_SLOT = { serial };

const AGENT: Shape = {
  ...{ site: name, listen: address, advertise: address, coordinators: [COORDINATOR], coordinator: COORDINATOR },
  ...{ tls: TLS, dataFolder: path, pinsFile: path, deletedRetentionDaysMin: number, eraseGraceHours: number },
  ...{ http: address, witness: flag },
  partitions: [
    {
      ...{ name, module: path, functionPrefix: hidden, kdf: hidden, pointEncoding: hidden, keyWrapMechanism: number },
      ...{ serial, pinFile: path, receivingKey: flag, officerKey: flag, vendorAttributes: [number] },
      ...{ role: oneOf('member', 'scratch', 'distributor'), native: { kind: oneOf('softhsm', 'luna') } },
      identityPartition: { serial, pinFile: path, module: path },
    },
  ],
  vaults: [
    {
      ...{ name, serial, officerPasswordFile: path, backupPasswordFile: path, keep: number },
      ...{ partition: { name, ...LUNA_SLOT }, scratch: { ...LUNA_SLOT, pinFile: path, module: path } },
    },
  ],
};

const COORDINATOR_SHAPE: Shape = {
  ...{ id: name, listen: address, http: address, tls: TLS, dataFolder: path, join: { listen: address } },
  ...{ issuer: { certificate: path, key: path, days: number }, databaseUrl: server, redisUrl: server },
  ...{
    timings: oneOf('default', 'fast', 'wan'),
    hooks: { roleChange: [HOOK], veto: [{ ...HOOK, ifUnanswered: oneOf('refuse', 'allow') }] },
  },
  notifications: {
    receivers: [
      {
        ...{ ...HOOK, severities: [oneOf('page', 'ticket', 'info')], groups: [name], resolved: flag },
        mail: { server, from: hidden, to: hidden, passwordFile: path },
      },
    ],
    heartbeats: [{ ...HOOK, urlFile: path, method: oneOf('GET', 'POST'), everySeconds: number }],
    waitFactor: number,
  },
};

const OPERATOR: Shape = {
  ...{ coordinators: [COORDINATOR], coordinator: COORDINATOR, agent: { site: name, address }, tls: TLS },
};

export const SHAPES = { agent: AGENT, coordinator: COORDINATOR_SHAPE, operator: OPERATOR, application: OPERATOR };
export type ConfigKind = keyof typeof SHAPES;

export interface ConfigView {
  readonly view: unknown;
  /** Values that were left out, and settings of unknown names. */
  readonly leftOut: number;
}

/** @throws an error that does not quote the text, where it is not YAML */
export function viewOf(text: string, { kind, file }: { kind: ConfigKind; file: string }): ConfigView {
  const document = parseDocument(text, { uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
  if (document.errors.length > 0) throw new SyntaxError(`the file is not YAML: ${document.errors[0]!.code}`);
  const view = shaped(document.toJS(), SHAPES[kind], { folder: dirname(resolve(file)) });
  return { view, leftOut: JSON.stringify(view).split(LEFT_OUT).length - 1 };
}

function shaped(value: unknown, shape: Rule | Shape | readonly [Rule | Shape], place: { folder: string }): unknown {
  if (value === null || value === undefined) return value;
  if (typeof shape === 'function') return shape(value, place);
  if (isList(shape)) return Array.isArray(value) ? value.map((one) => shaped(one, shape[0], place)) : LEFT_OUT;
  if (typeof value !== 'object' || Array.isArray(value)) return LEFT_OUT;
  const entries = Object.entries(value);
  const known = entries.filter(([key]) => Object.hasOwn(shape, key));
  const unknown = entries.length - known.length;
  return {
    ...Object.fromEntries(known.map(([key, one]) => [key, shaped(one, shape[key]!, place)])),
    // Their names may be labels, or a secret behind a forgotten blank.
    ...(unknown === 0 ? {} : { [`and ${unknown} more`]: LEFT_OUT }),
  };
}

const isList = (shape: Shape | readonly [Rule | Shape]): shape is readonly [Rule | Shape] => Array.isArray(shape);
