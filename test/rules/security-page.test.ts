import { MAY_CALL } from '@antipode/protocol';
import { expect, it } from 'vitest';
import { read } from './support/tree.ts';

/** `kind method`, as the list of the page gives them: the kind of caller in bold, then methods in code font. */
function grantedOn(page: string): string[] {
  const items = page
    .replaceAll(/\n {2}(?=\S)/g, ' ')
    .matchAll(/^- \*\*(coordinator|site|viewer|operator|security|without-role|application)\*\*: (.*)$/gm);
  return [...items].flatMap(([, kind, methods]) =>
    [...methods!.matchAll(/`(\w+)`/g)].map(([, method]) => `${kind} ${method}`),
  );
}

const granted = Object.entries(MAY_CALL).flatMap(([method, kinds]) =>
  kinds.map((kind) => `${kind} ${method.split('/')[1]}`),
);

it('the security page grants to every caller what the table does, and nothing else', () => {
  expect(grantedOn(read('docs/security.md').source).sort()).toEqual(granted.sort());
});
