/** What `partition showpolicies` and `hsm showpolicies` say. Devices leave out a policy whose capability is off. */
import type { Phrases } from '../phrases.ts';

export interface Policies {
  /** By number. The text differs between builds, so that a number with another meaning can be noticed. */
  readonly values: ReadonlyMap<number, { readonly value: number; readonly text: string }>;
}

export function policiesIn(lines: readonly string[], phrases: Phrases): Policies {
  const values = new Map<number, { value: number; text: string }>();
  let isPolicies = false;
  for (const line of lines) {
    if (phrases.policiesHeading.pattern.test(line)) isPolicies = true;
    else if (phrases.capabilitiesHeading.pattern.test(line)) isPolicies = false;
    else if (isPolicies) {
      const [, number, text, value] = phrases.policyLine.pattern.exec(line) ?? [];
      if (number !== undefined && text !== undefined) values.set(Number(number), { value: Number(value), text });
    }
  }
  return { values };
}
