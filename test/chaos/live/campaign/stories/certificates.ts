/** Every process gets another certificate while it works. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type IdentityKind, issueCertificate } from '@antipode/protocol';
import { systemClock } from '@antipode/runtime';
import { type Scene, SITES } from '../scene.ts';
import type { Story } from './story.ts';

/** Other than those that the places begin with, so that the new ones are known by their end. */
const DAYS = 100;
const DAY_MS = 86_400_000;
const PLACES: readonly { readonly folder: string; readonly kind: IdentityKind; readonly name: string }[] = [
  ...SITES.map((name) => ({ folder: `site-${name}`, kind: 'site' as const, name })),
  { folder: 'coordinator', kind: 'coordinator', name: 'main' },
];

async function swap({ system }: Scene, { folder, kind, name }: (typeof PLACES)[number]): Promise<void> {
  const authority = (file: string): string => readFileSync(join(system.folder, 'authority', file), 'utf8');
  const { certificatePem, keyPem } = await issueCertificate({
    authority: { certificatePem: authority('ca.crt'), keyPem: authority('ca.key') },
    identity: { trustDomain: authority('trust-domain').trim(), kind, name },
    validDays: DAYS,
    nowMs: systemClock.wallMs(),
  });
  const write = (file: string, text: string): void => {
    const path = join(system.folder, folder, file);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  };
  write('tls.key', keyPem);
  write('tls.crt', certificatePem);
}

export const CERTIFICATES_SWAPPED: Story = {
  name: 'certificates-swapped',
  what: 'every process gets another certificate while keys are replicated: it is in use, and no site was missed',
  coordinators: 1,
  needsNetwork: false,
  play: async (scene) => {
    const { system, maker } = scene;
    const endMs = systemClock.wallMs() + (DAYS + 1) * DAY_MS;
    for (const place of PLACES) {
      await scene.someMoment();
      await swap(scene, place);
    }
    await system.until('the new certificates are in use', async () => {
      const { sites, certificate } = await system.operator.getStatus({});
      return [certificate, ...sites.map((site) => site.certificate)].every(
        (one) => one !== undefined && Number(one.certificateEndsMs) < endMs,
      );
    });
    const wanted = maker.acknowledged.length + 2;
    await system.until('keys are acknowledged', async () => maker.acknowledged.length >= wanted);
    return { settles: true };
  },
};
