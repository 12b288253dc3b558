/**
 * Records keys of ours that are in the token and not in the journal: the journal was put back to before they came. It
 * knows again what it knew, so that no version is installed twice, and that what nothing needs is destroyed by the rule
 * for all the others (ADR 0026). Changes nothing in the token.
 */
import type { Keyring } from '@antipode/hsm-core';
import type { Log } from '@antipode/runtime';
import type { Journal } from '../storage/journal/journal.ts';

/** Returns whether anything was recorded: then the keyring is to be opened again. */
export function recordUnrecorded(
  { unrecorded }: Pick<Keyring, 'unrecorded'>,
  { journal, serial, log }: { journal: Journal; serial: string; log: Log },
): boolean {
  const { domainKeys } = journal;
  let isAny = false;
  // A trusted key goes with its domain key, which comes first.
  for (const key of [...unrecorded].sort((a, b) => (a.kind < b.kind ? -1 : 1))) {
    const { kind, group, version } = key;
    const isHere = (): boolean => domainKeys.of(serial).some((one) => one.group === group && one.version === version);
    // A version that was destroyed is not taken into use again, whatever an older copy of the token brings back.
    if (kind === 'domain' ? domainKeys.hasHad(serial, group, version) : !isHere()) continue;
    if (kind === 'domain') domainKeys.add(serial, key);
    else domainKeys.addTrusted(serial, key);
    isAny = true;
    log.warn('a key of ours was in the token and not in the journal, which is an older copy', {
      serial,
      ...named(key),
    });
  }
  return isAny;
}

const named = ({ kind, group, version }: Keyring['unrecorded'][number]) => ({ kind, group, version });
