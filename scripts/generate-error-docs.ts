import { CATALOGUE, type Disposition } from '../packages/runtime/src/errors.ts';

const DISPOSITIONS: Record<Disposition, string> = {
  retry: 'Transient. Antipode tries again by itself, more and more slowly, and gives up after a limit.',
  'stand-down': 'The view of the one that asked is stale. It stops at once; nothing needs to be done.',
  operator: 'A person must decide. The work is parked until then.',
  defect: 'An invariant broke. The process logs it and ends; its supervisor starts it again. Please report it.',
};

/** `docs/errors.md`: the catalogue for people, by what is to be done. */
export function errorDocs(): string {
  const sections = (Object.keys(DISPOSITIONS) as Disposition[]).map(section);
  return `<!-- Generated from packages/runtime/src/errors.ts by \`npm run generate\`. Do not edit. -->

# Errors

Every error has a stable code: it opens the message in brackets, and it is \`code\` in \`--json\`. Codes are never reused
for something else. An error never shows a PIN, a key label or key material.

${sections.join('\n\n')}
`;
}

function section(disposition: Disposition): string {
  const rows = Object.entries(CATALOGUE)
    .filter(([, entry]) => entry.disposition === disposition)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { summary, hint }]) => `| \`${code}\` | ${cell(summary)} | ${cell(hint)} |`);
  return [
    `## ${disposition}`,
    '',
    DISPOSITIONS[disposition],
    '',
    '| code | what happened | what to do |',
    '| --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
