/**
 * Remembers, for each RSA private key, the digest of what this device wrapped when the key was first proved. Every
 * later proof compares, which shows damage that no use of the key shows. A digest is kept under the digest of the
 * sealed blob, which stands for key and domain key. It is also kept by device and firmware, since another firmware may
 * encode a key differently.
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
