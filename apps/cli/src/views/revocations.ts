/** The list of revoked certificates in `status`. */
import type { GetStatusResponse } from '@antipode/protocol';
import { isHeard } from './heard.ts';

/** Sites that are refused, and processes whose list of revoked certificates is not the newest. */
export function revocationLines({ sites, coordinator, revocations }: GetStatusResponse): string[] {
  const refused = sites.flatMap(({ site, revoked }) =>
    revoked.map(
      (text) => `Site ${site} is refused: ${text}. It needs another certificate (docs/runbooks/a-key-was-stolen.md).`,
    ),
  );
  const all = [
    { who: `coordinator ${coordinator}`, held: revocations },
    ...sites
      .filter(({ state, version }) => isHeard(state) && version !== '')
      .map(({ site, revocations: held }) => ({ who: `site ${site}`, held })),
  ];
  const newest = Math.max(...all.map(({ held }) => held?.version ?? 0));
  const older = all.filter(({ held }) => (held?.version ?? 0) < newest).map(({ who }) => who);
  return [
    ...refused,
    ...(older.length === 0
      ? []
      : [
          `Version ${newest} of the list of revoked certificates has not reached ${older.join(', ')}. It takes a minute at most. \`antipode certificate revoked list\` says why.`,
        ]),
    ...all.flatMap(({ who, held }) =>
      [held?.problem ?? '', held?.ownRefusal ?? ''].filter((text) => text !== '').map((text) => `${who}: ${text}.`),
    ),
  ];
}
