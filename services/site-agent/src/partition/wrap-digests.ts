/**
 * What this device made of each RSA private key when it was proved first: the digest of the blob that it wraps. From then on
 * every proof compares, so that damage shows which no use of the key shows. Kept by the digest of the sealed blob, which
 * names key and domain key, and by device and firmware, since another firmware may write a key otherwise.
 */
import type { HsmProvider, ProofItem, ProofOutcome } from '@antipode/hsm-core';
import { fromHex, hex } from '@antipode/runtime';
import type { FindingRecords } from '../storage/journal/findings.ts';

/** The provider, of which proofs compare with what the journal has, and add to it. */
export function remembering<Provider extends HsmProvider>(
  provider: Provider,
  { findings, device }: { findings: Pick<FindingRecords, 'wrapDigests' | 'addWrapDigests'>; device: string },
): Provider {
  const prove = async (domainKey: bigint, items: readonly ProofItem[]): Promise<ProofOutcome[]> => {
    const named = items.map((item) => (hasParts(item) ? hex(item.blobSha256!) : ''));
    const before = findings.wrapDigests(
      device,
      named.filter((name) => name !== ''),
    );
    const outcomes = await provider.prove(
      domainKey,
      items.map((item, index) => {
        const digest = before.get(named[index]!);
        return digest === undefined ? item : { ...item, wrapsTo: fromHex(digest) };
      }),
    );
    const added = outcomes.flatMap(({ proved, wrapsTo }, index): [string, string][] =>
      proved && wrapsTo !== undefined && named[index] !== '' && !before.has(named[index]!)
        ? [[named[index]!, hex(wrapsTo)]]
        : [],
    );
    if (added.length > 0) findings.addWrapDigests(device, added);
    return outcomes;
  };
  return new Proxy(provider, {
    get: (target, name) => {
      if (name === 'prove') return prove;
      const member = Reflect.get(target, name, target) as unknown;
      return typeof member === 'function' ? (member as (...args: unknown[]) => unknown).bind(target) : member;
    },
  });
}

const hasParts = ({ objectClass, keyType, blobSha256 }: ProofItem): boolean =>
  objectClass === 'private-key' && keyType === 'rsa' && blobSha256 !== undefined;
