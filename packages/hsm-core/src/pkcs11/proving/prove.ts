/**
 * Proves that a restored object is the one that was captured. Secrets are wrapped again.
 * Private keys make a signature, a decryption or an agreement that software checks with the manifest's public half.
 * Then each key is used by every flag. Attributes alone prove nothing. A flag that no mechanism of the token can
 * exercise is reported.
 */
import { bytesEqual } from '@antipode/runtime';
import { kindOfType } from '../../key-kinds/kinds.ts';
import { historyDifferences } from '../../objects/clone-comparison.ts';
import type { ProofItem, ProofOutcome } from '../../provider/prover.ts';
import { Proof, type ProveContext } from './proof.ts';

export function prove(context: ProveContext, item: ProofItem): ProofOutcome {
  const proof = new Proof(context, item);
  try {
    return proved(proof, item);
  } finally {
    proof.end();
  }
}

function proved(proof: Proof, item: ProofItem): ProofOutcome {
  const { objectClass, keyType } = item;
  switch (objectClass) {
    case 'secret-key':
    case 'private-key':
      if (keyType !== undefined) kindOfType(keyType).prove(proof);
      break;
    case 'data':
      proveData(proof);
      break;
    case 'public-key':
    case 'certificate':
    case 'domain-parameters':
      provePublicObject(proof);
  }
  if (item.isClone) checkHistory(proof);
  proof.countUntried();
  return {
    handle: item.handle,
    proved: proof.hasProof && proof.checks.every(({ outcome }) => outcome !== 'failed'),
    checks: proof.checks,
    ...(proof.wrapsTo === undefined ? {} : { wrapsTo: proof.wrapsTo }),
  };
}

/** An equal history proves nothing of the value. Another one shows that the object is not the clone. */
function checkHistory(proof: Proof): void {
  const read = proof.context.objects.read(proof.item.handle);
  const differences = read === undefined ? ['gone'] : historyDifferences(proof.item, read);
  if (differences.length > 0) proof.fail('history', differences.join(', '));
}

function proveData(proof: Proof): void {
  const { valueTag, handle } = proof.item;
  if (valueTag === undefined) return;
  proof.check('value', 'keyed tag of the value', () => {
    const tag = proof.context.tagData(handle);
    return tag !== undefined && bytesEqual(tag, valueTag);
  });
}

function provePublicObject(proof: Proof): void {
  proof.check('value', 'read back', () => {
    const read = proof.context.objects.read(proof.item.handle);
    if (read === undefined) return false;
    const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
      a !== undefined && b !== undefined && bytesEqual(a, b);
    const { objectClass, attributes, publicHalf } = proof.item;
    switch (objectClass) {
      case 'certificate':
        return same(read.attributes.value, attributes.value);
      case 'domain-parameters':
        return same(read.attributes.prime, attributes.prime) && same(read.attributes.base, attributes.base);
      default:
        return same(read.publicHalf, publicHalf);
    }
  });
}
