/** The next list of revoked certificates: with more entries, or without some. Nothing is refused before it is brought in. */

import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { spokenDigest } from '@antipode/operator';
import {
  describeCertificate,
  identityUri,
  isName,
  parseIdentity,
  REVOCATION_FORMAT,
  type Revocation,
  type RevocationList,
  revocationBytes,
  revocationDigest,
  revocationFileText,
  revocationListFrom,
  revocationsFromFileText,
  signedRevocationBytes,
  type Tls,
} from '@antipode/protocol';
import { AntipodeError, requireNoFile, systemClock, writeNewFile } from '@antipode/runtime';
import type { Command } from 'commander';
import { useOperatorKey } from '../../approvals/operator-key.ts';
import { operatorCommand, seconds } from '../../options/options.ts';
import { output } from '../../output.ts';
import type { ListInForce, RevocationDesk } from '../../revocations/revocation-desk.ts';
import { isNamed } from '../../revocations/revocation-plan.ts';
import { MS, planOf, readFile, TIMEOUT_S, tellPlan, withDesk } from './at-desk.ts';

interface MakeOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly reason?: string;
  readonly as: string;
  readonly key: string;
  readonly pinFile?: string;
  readonly issuedBefore?: string;
  readonly ends?: string;
  readonly base?: string;
  readonly first?: boolean;
  readonly out: string;
  readonly timeout: number;
}

function makingCommand(name: string, description: string, examples: readonly string[]): Command {
  return operatorCommand(name, description, examples)
    .requiredOption('--as <name>', 'your name in the `revocation` sections')
    .requiredOption('--key <key>', 'your private key: a PKCS#8 file, or a PKCS#11 URI')
    .option('--pin-file <file>', 'file with the PIN of the token, or the passphrase of the key file')
    .option('--base <file>', 'make it from this list; default: the newest one that a process has')
    .option('--first', 'there is no list yet; nobody is asked')
    .requiredOption('--out <file>', 'where to write the next version')
    .option('--timeout <seconds>', 'how long to wait for each process', seconds, TIMEOUT_S);
}

export function revokeCommand(): Command {
  return makingCommand('revoke', 'make the next list of revoked certificates, and sign it as its maker', [
    'certificate revoke site/b --reason "disk stolen" --as alice --key alice.pem --out list.json',
    'certificate revoke operator/olga --reason "left" --as alice --key alice.pem --out list.json',
    'certificate revoke b.crt issuer.crt --reason "copied" --as alice --key alice.pem --out list.json',
  ])
    .argument(
      '<what...>',
      'KIND/NAME for an identity, or the file or SHA-256 of a certificate, or the file of an issuer',
    )
    .requiredOption('--reason <text>', 'for the people who sign, and for whoever is refused')
    .option('--issued-before <time>', 'of an identity: what was issued before this time (default: now)')
    .option(
      '--ends <time>',
      'when the last of these certificates has ended (default: that of the certificate or authority)',
    )
    .addHelpText(
      'after',
      '\nNothing is refused before `antipode certificate revoked submit`. Others sign the file with `antipode approve sign`.\nAn identity works again with a certificate that the authority issues after that time. A renewal does not help.',
    )
    .action((what: string[], options: MakeOptions) =>
      makeNext(options, (base, place) => {
        const nowMs = systemClock.wallMs();
        const added = what.map((one) => revocationFor(one, { options, ...place, nowMs }));
        const kept = base.filter((entry) => !added.some((one) => isSame(one, entry)));
        const ended = kept.filter(({ ends }) => Date.parse(ends) < nowMs);
        return [...kept.filter((entry) => !ended.includes(entry)), ...added];
      }),
    );
}

export function unrevokeCommand(): Command {
  return makingCommand('unrevoke', 'make the next list without some entries, and sign it as its maker', [
    'certificate unrevoke site/b --as alice --key alice.pem --out list.json',
  ])
    .argument('<what...>', 'KIND/NAME of an identity, or the first digits of the SHA-256 of a certificate')
    .addHelpText(
      'after',
      '\nA site that has another certificate by now needs no such list: its entry names earlier ones only.',
    )
    .action((what: string[], options: MakeOptions) =>
      makeNext(options, (base) => {
        for (const one of what)
          if (!base.some((entry) => isNamed(entry, one)))
            throw new AntipodeError('NOT_FOUND', `the list in force has no entry for ${one}`, {
              details: { field: 'what' },
              hint: 'Run `antipode certificate revoked list`.',
            });
        return base.filter((entry) => !what.some((one) => isNamed(entry, one)));
      }),
    );
}

const isSame = (one: Revocation, other: Revocation): boolean =>
  one.kind === other.kind && one.name === other.name && one.subject === other.subject;

interface Place {
  readonly trustDomain: string;
  /** When the last authority of `ca.crt` ends: no certificate outlives it. */
  readonly authorityEnds: string;
}

function revocationFor(
  what: string,
  {
    options: { reason = '', issuedBefore, ends },
    trustDomain,
    authorityEnds,
    nowMs,
  }: { options: Pick<MakeOptions, 'reason' | 'issuedBefore' | 'ends'>; nowMs: number } & Place,
): Revocation {
  const since = new Date(nowMs).toISOString();
  const common = { reason, since, ends: ends === undefined ? authorityEnds : timeOf(ends, 'ends') };
  const identity = parseIdentity(`spiffe://${trustDomain}/${what}`);
  if (identity !== undefined) {
    const { role: _, ...named } = identity;
    const before = issuedBefore === undefined ? since : timeOf(issuedBefore, 'issued-before');
    return { ...common, kind: 'identity', subject: '', name: identityUri(named), issuedBefore: before };
  }
  if (issuedBefore !== undefined)
    throw new AntipodeError('USAGE', `--issued-before belongs to an identity, found ${what}`, {
      details: { field: 'issued-before' },
    });
  if (/^[0-9a-f]{64}$/.test(what)) return { ...common, kind: 'certificate', subject: what, name: '', issuedBefore: '' };
  if (!existsSync(what))
    throw new AntipodeError('USAGE', `expected an identity, the SHA-256 of a certificate or a file, found ${what}`, {
      details: { field: 'what' },
      hint: 'Write an identity as KIND/NAME: site/b, coordinator/main, operator/olga or application/signer.',
    });
  const pem = readFile(what);
  const { identity: shown, notAfter, fingerprint } = describeCertificate(pem);
  const certificate = new X509Certificate(pem);
  const own = { ...common, issuedBefore: '', ...(ends === undefined ? { ends: notAfter.toISOString() } : {}) };
  if (certificate.ca && certificate.subject === certificate.issuer)
    throw new AntipodeError('USAGE', `${what} is an authority, and everything is signed with its key`, {
      details: { field: 'what' },
      hint: 'Change the authority: `ca.crt` may hold several certificates for the time of the transition.',
    });
  if (certificate.ca) {
    const key = certificate.publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
    return { ...own, kind: 'issuer', subject: key, name: certificate.subject.replaceAll('\n', ', ') };
  }
  if (shown === undefined) return { ...own, kind: 'certificate', subject: fingerprint, name: '' };
  const { role: _, ...named } = shown;
  return { ...own, kind: 'certificate', subject: fingerprint, name: identityUri(named) };
}

function timeOf(text: string, field: string): string {
  const ms = Date.parse(text);
  if (Number.isFinite(ms)) return new Date(ms).toISOString();
  throw new AntipodeError('USAGE', `--${field} must be a time, such as 2026-03-01T12:00:00Z; found "${text}"`, {
    details: { field },
  });
}

async function makeNext(
  options: MakeOptions,
  entriesFrom: (base: readonly Revocation[], place: Place) => readonly Revocation[],
): Promise<void> {
  const out = output(options);
  if (!isName(options.as))
    throw new AntipodeError('USAGE', `--as must be a name of an operator, found "${options.as}"`, {
      details: { field: 'as' },
    });
  requireNoFile(options.out);
  await withDesk(options, async (at) => {
    const base = await baseOf(options, at.desk);
    const { trustDomain } = at.tls.identity;
    const entries = entriesFrom(base?.list.entries ?? [], { trustDomain, authorityEnds: authorityEnds(at.tls) });
    const list = revocationListFrom({
      format: REVOCATION_FORMAT,
      trustDomain,
      version: (base?.list.version ?? 0) + 1,
      previous: base?.digest ?? '',
      made: new Date(systemClock.wallMs()).toISOString(),
      madeBy: options.as,
      entries,
    } satisfies RevocationList);
    const bytes = revocationBytes(list);
    const signature = await useOperatorKey(options, ({ sign }) => sign(signedRevocationBytes(bytes)));
    const plan = await planOf(at, { list, inForce: base?.list, timeoutMs: options.timeout * MS });
    tellPlan(out, plan);
    writeNewFile(options.out, revocationFileText({ list: bytes, signatures: [{ operator: options.as, signature }] }), {
      mode: 0o644,
    });
    const digest = revocationDigest(bytes);
    out.data(
      { file: options.out, digest, ...plan },
      () =>
        `wrote ${options.out}: version ${list.version}, ${spokenDigest(digest)}. Nothing is refused before others have signed it and \`antipode certificate revoked submit ${options.out}\` has brought it in.`,
    );
  });
}

const authorityEnds = ({ state }: Pick<Tls, 'state'>): string => new Date(state.authorityEndsMs).toISOString();

async function baseOf(
  { base, first, timeout }: Pick<MakeOptions, 'base' | 'first' | 'timeout'>,
  desk: RevocationDesk,
): Promise<Pick<ListInForce, 'list' | 'digest'> | undefined> {
  if (first === true) return undefined;
  if (base !== undefined) {
    const { parsed: list, list: bytes } = revocationsFromFileText(readFile(base));
    return { list, digest: revocationDigest(bytes) };
  }
  const { newest, processes } = await desk.read();
  if (newest !== undefined) return newest;
  const uncounted = processes.filter(({ problem }) => problem.startsWith('REVOCATION_LIST_'));
  if (uncounted.length > 0)
    throw new AntipodeError(
      'REVOCATION_LIST_UNSIGNED',
      `no list counts by the \`revocation\` section here: ${uncounted.map(({ process, version }) => `${process} has version ${version}`).join(', ')}`,
      { hint: 'Compare the operators in this section with those of the processes, or give the list with --base FILE.' },
    );
  if (processes.some(({ error }) => error === undefined)) return undefined;
  throw new AntipodeError(
    'SITE_UNREACHABLE',
    `no process has said within ${timeout} s which list is in force: ${processes.map(({ process, problem }) => `${process} ${problem}`).join(', ')}`,
    { hint: 'Give the list in force with --base FILE, or --first if there is none yet.' },
  );
}
