/** The tokens of this machine, as `partition detect` shows them and `site join` takes them. */
import { resolve } from 'node:path';
import { type DetectedModule, detectTokens, moduleCandidates, type ProbedToken, thisMachine } from '@antipode/hsm-core';
import { AntipodeError, systemClock } from '@antipode/runtime';

export interface DetectedToken extends ProbedToken {
  readonly module: string;
  readonly parameters?: string | undefined;
}

/** In these modules, or in all that are found. */
export function detect({
  modules,
  environment,
}: {
  modules: readonly string[];
  environment: Readonly<Record<string, string>>;
}): Promise<DetectedModule[]> {
  const machine = thisMachine();
  const candidates =
    modules.length > 0
      ? modules.map((module) => ({ module: resolve(module), source: '--module' }))
      : moduleCandidates({ ...machine, environment: { ...machine.environment, ...environment } });
  return detectTokens(candidates, { clock: systemClock, environment });
}

export const tokensOf = (modules: readonly DetectedModule[]): DetectedToken[] =>
  modules.flatMap(({ module, parameters, tokens }) => tokens.map((token) => ({ ...token, module, parameters })));

/**
 * The token with a label, or the only one that is ready.
 * @throws PARTITION_NOT_FOUND with what there is
 */
export function theToken(modules: readonly DetectedModule[], label: string | undefined): DetectedToken {
  const ready = tokensOf(modules).filter(({ state }) => state === 'ready');
  const fitting = label === undefined ? ready : ready.filter((one) => one.label === label);
  const [only] = fitting;
  if (only !== undefined && fitting.length === 1) return only;
  const wanted = label === undefined ? 'one token with a user PIN' : `one token with the label "${label}"`;
  const seen = ready.map((one) => `"${one.label}" (${one.serial}) in ${one.module}`).join(', ');
  const problems = modules
    .filter(({ problem }) => problem !== '')
    .map(({ module, problem }) => `${module}: ${problem}`);
  throw new AntipodeError(
    'PARTITION_NOT_FOUND',
    `expected ${wanted}, found ${fitting.length} in ${modules.length} PKCS#11 modules${seen === '' ? '' : `; there are ${seen}`}${problems.length === 0 ? '' : `; ${problems.join('; ')}`}`,
    {
      hint:
        ready.length === 0
          ? 'Initialise a token with the tool of the HSM, and make sure that this user may read it. `antipode partition detect` shows what is found. Name the module with --module if it is elsewhere, and its settings with --environment. Then run the same command again.'
          : 'Choose one with --token-label and --module, and run the same command again.',
    },
  );
}
