/** I14: at the end a name finds one key at every member, the newest, and nothing that was deleted. */
import type { Checker } from './checker.ts';

export const namesAnswer = (): Checker => ({
  invariant: 'I14',
  name: 'names-answer',
  look: ({ kind }, facts) => {
    if (kind !== 'end' || facts.isLossAccepted) return undefined;
    const wrong = facts.members
      .filter(({ role }) => role === 'active' || role === 'standby')
      .flatMap(({ site }) => {
        const held = facts.valuesAt(site);
        // With its journal a site loses the knowledge which objects are its own. It reports them, and deletes none.
        const risen =
          facts.hasForgotten(site) && facts.unexplainedAt(site) > 0
            ? []
            : facts.keys
                .filter(({ value, isEndPromised }) => isEndPromised && held.has(value))
                .map(({ label }) => `${label} that was deleted`);
        const doubled = facts.keys
          .filter(({ value, isPromised }) => isPromised && (held.get(value) ?? 0) > 1)
          .map(({ label }) => `${label} twice`);
        return [...risen, ...doubled].map((what) => `${site} has ${what}`);
      });
    return wrong.length === 0 ? undefined : wrong.join('; ');
  },
});
