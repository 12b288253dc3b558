/** A trust domain on disk: an authority, and certificates that tests issue and swap. */
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Authority, createAuthority, type Identity, issueCertificate, type TlsFiles } from '@antipode/protocol';
import { systemClock } from '@antipode/runtime';

const DAYS = 30;
export const DAY_MS = 86_400_000;

export interface TestTrust {
  readonly authority: Authority;
  /** Issues a certificate; `agoDays` ago for an expired one. The files can be swapped by `swap`. */
  issue(
    identity: Omit<Identity, 'trustDomain'> & { trustDomain?: string },
    options?: { agoDays?: number; caPem?: string },
  ): Promise<TlsFiles>;
}

export async function makeTrust(
  folder: string,
  { trustDomain = 'test.example' }: { trustDomain?: string } = {},
): Promise<TestTrust> {
  const authority = await createAuthority({ trustDomain, validDays: 365, nowMs: systemClock.wallMs() - 100 * DAY_MS });
  let issued = 0;
  return {
    authority,
    issue: async (identity, { agoDays = 0, caPem = authority.certificatePem } = {}) => {
      const nowMs = systemClock.wallMs() - agoDays * DAY_MS;
      const pair = await issueCertificate({
        authority,
        identity: { trustDomain, ...identity },
        validDays: DAYS,
        nowMs,
      });
      issued += 1;
      const place = join(folder, `${trustDomain}-${identity.kind}-${identity.name}-${issued}`);
      mkdirSync(`${place}.pem`, { recursive: true });
      symlinkSync(`${place}.pem`, place);
      const files = {
        caFile: join(place, 'ca.pem'),
        certificateFile: join(place, 'certificate.pem'),
        keyFile: join(place, 'key.pem'),
      };
      writeFileSync(files.caFile, caPem);
      writeFileSync(files.certificateFile, pair.certificatePem);
      writeFileSync(files.keyFile, pair.keyPem, { mode: 0o600 });
      return files;
    },
  };
}

/** Puts the files of `next` in the place of `files`, all three at one instant, as an operator's tool should. */
export function swap(files: TlsFiles, next: TlsFiles): void {
  const place = join(files.caFile, '..');
  const target = `${place}.${systemClock.monotonicMs()}`;
  mkdirSync(target);
  for (const one of ['caFile', 'certificateFile', 'keyFile'] as const)
    writeFileSync(join(target, files[one].split('/').at(-1)!), readFileSync(next[one]));
  symlinkSync(target, `${target}.link`);
  renameSync(`${target}.link`, place);
}
