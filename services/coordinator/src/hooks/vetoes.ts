/** Asks before a move, and before anything is changed for it, whether somebody says no. */
import { AntipodeError, type Log } from '@antipode/runtime';
import type { MoveQuestion, Veto } from './hook.ts';

/** All are asked at once. @throws FAILOVER_VETOED with what each of those said that refuse */
export async function askVetoes(vetoes: readonly Veto[], question: MoveQuestion, { log }: { log: Log }): Promise<void> {
  const answers = await Promise.all(vetoes.map((veto) => ask(veto, question, log)));
  const refusals = answers.filter((answer) => answer !== undefined);
  if (refusals.length === 0) return;
  throw new AntipodeError(
    'FAILOVER_VETOED',
    `group ${question.group} does not move to site ${question.toSite}: ${refusals.join('; ')}`,
    { details: { group: question.group, site: question.toSite } },
  );
}

/** Why it refuses; undefined where it does not. */
async function ask({ hook, ifUnanswered }: Veto, question: MoveQuestion, log: Log): Promise<string | undefined> {
  try {
    const { isAccepted, reason } = await hook.call(question);
    return isAccepted ? undefined : `hook ${hook.name} says no${reason && ` (${reason})`}`;
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if (error.disposition === 'defect') throw error;
    if (ifUnanswered === 'refuse') return error.message;
    log.warn('a hook that may refuse the move gave no answer, and none is needed', { hook: hook.name, error });
    return undefined;
  }
}
