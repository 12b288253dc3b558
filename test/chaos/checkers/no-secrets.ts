/**
 * I5: no value of a key is anywhere but in a token, unless it is wrapped. Labels of keys stay with the agents: they are in
 * no table of the coordinators, and in no line of a log.
 */
import type { Checker, Facts } from './checker.ts';

/** Needs no simulation: the files and logs of live processes can be judged too. */
export interface SecretChecker extends Checker {
  look(change: Parameters<Checker['look']>[0], facts: Pick<Facts, 'secrets'>): string | undefined;
}

/** As a program could write it down. */
const formsOf = (bytes: Uint8Array): Buffer[] => {
  const raw = Buffer.from(bytes);
  return [raw, Buffer.from(raw.toString('hex')), Buffer.from(raw.toString('base64'))];
};

export const noSecrets = (): SecretChecker => {
  /** By the raw bytes as text: the same secrets are looked for in every place. */
  const known = new Map<string, readonly Buffer[]>();
  const formsOfKnown = (bytes: Uint8Array): readonly Buffer[] => {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    const forms = known.get(key) ?? formsOf(bytes);
    known.set(key, forms);
    return forms;
  };
  const look: SecretChecker['look'] = (change, facts) => {
    // Asked after every step: the secrets are put together only when there is something to search.
    if (change.kind !== 'written') return undefined;
    const { buffer, byteOffset, byteLength } = change.bytes;
    const text = Buffer.from(buffer, byteOffset, byteLength);
    const found = facts.secrets.filter(
      ({ bytes, isLabel }) =>
        (!isLabel || change.place === 'coordinator' || change.place === 'log') &&
        formsOfKnown(bytes).some((form) => text.includes(form)),
    );
    return found.length === 0
      ? undefined
      : `${change.what} holds ${found.map(({ name, isLabel }) => `the ${isLabel ? 'label' : 'value'} of ${name}`).join(', ')}`;
  };
  return { invariant: 'I5', name: 'no-secrets', look };
};
