/** Whether a move can succeed at all, by what both sides show before anything is changed. */
import type { Examination } from './jobs/reading.ts';

export interface Obstacle {
  readonly rule: 'private key cloning' | 'secret key cloning' | 'wrapping instead' | 'restricted restore' | 'protocol';
  readonly message: string;
}

/** Partition policies and policies of the device, by their numbers at the vendor. */
const POLICY = { privateCloning: 0, privateWrapping: 1, secretCloning: 4, cpv1: 42, restrictedRestore: 55 } as const;

/** The first firmware with the newer cloning protocol, which a restricted restore asks for. */
const NEWER_CLONING = [7, 7] as const;

/** @param sides `vault` is there for a restore only */
export function obstaclesOf({
  source,
  target,
  vault,
}: {
  source?: Examination;
  target?: Examination;
  vault?: Examination;
}): Obstacle[] {
  const found: Obstacle[] = [];
  for (const side of [source, target]) {
    if (side === undefined) continue;
    if (policyValue(side, POLICY.privateCloning) === 0)
      found.push({
        rule: policyValue(side, POLICY.privateWrapping) === 1 ? 'wrapping instead' : 'private key cloning',
        message: 'policy 0 is off: this partition clones no private keys',
      });
    if (policyValue(side, POLICY.secretCloning) === 0)
      found.push({ rule: 'secret key cloning', message: 'policy 4 is off: this partition clones no secret keys' });
  }
  if (source !== undefined && target !== undefined) {
    const [here, there] = [source, target].map((side) => policyValue(side, POLICY.cpv1));
    if (here !== undefined && there !== undefined && here !== there)
      found.push({ rule: 'protocol', message: 'policy 42 differs: both sides speak no common cloning protocol' });
  }
  if (vault !== undefined && target !== undefined && policyValue(vault, POLICY.restrictedRestore) === 1) {
    if (isOlder(target.slot.firmware) || policyValue(target, POLICY.cpv1) === 1)
      found.push({
        rule: 'restricted restore',
        message: 'policy 55 of the vault is on: it restores only where the newer cloning protocol is spoken',
      });
  }
  return found;
}

const policyValue = ({ policies }: Examination, number: number): number | undefined =>
  policies.values.get(number)?.value;

function isOlder(firmware: string): boolean {
  const [major = 0, minor = 0] = firmware.split('.').map(Number);
  return major < NEWER_CLONING[0] || (major === NEWER_CLONING[0] && minor < NEWER_CLONING[1]);
}
