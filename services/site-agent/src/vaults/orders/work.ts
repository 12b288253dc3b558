/** One order of work with a vault, and what each kind of work needs of it. */
import type { ProofSummary } from '@antipode/hsm-core';
import type { MoveReport } from '@antipode/hsm-core/luna';
import { type ArchiveRequest, type ArchiveResponseSchema, archiveWorkName, fenceOf } from '@antipode/protocol';
import { AntipodeError, canonicalJson } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { isSameSerial } from '../../config.ts';
import { EVIDENCE_PREFIX } from '../../orders/evidence.ts';
import type { Site } from '../../site.ts';
import type { CopyProof } from '../copy-proof.ts';
import type { RecordedBackup, Vault } from '../vault.ts';

export type Response = MessageInitShape<typeof ArchiveResponseSchema>;

export class Work {
  readonly site: Site;
  readonly vault: Vault;
  readonly request: ArchiveRequest;
  readonly startedMs: number;

  constructor(site: Site, vault: Vault, request: ArchiveRequest) {
    this.site = site;
    this.vault = vault;
    this.request = request;
    this.startedMs = site.clock.wallMs();
  }

  get fence() {
    return fenceOf(this.request);
  }

  /** The serial number of the partition that the vault is for. @throws NOT_FOUND, CONFIG_INVALID */
  get serial(): string {
    const { partition } = this.vault.settings;
    const found = this.site.partitions.all.find(({ settings }) => settings.name === partition.name)?.serial;
    if (found === undefined)
      throw new AntipodeError('NOT_FOUND', `partition ${partition.name} is not initialised`, {
        details: { partition: partition.name },
        hint: `Run \`antipode partition init ${partition.name}\` first.`,
      });
    if (isSameSerial(found, partition.serial)) return found;
    throw new AntipodeError(
      'CONFIG_INVALID',
      `vault ${this.vault.settings.name} is for the partition with serial number ${partition.serial}, and partition ${partition.name} has ${found}`,
      {
        details: { serial: found },
        hint: 'Correct `partition` of the vault in agent.yaml: both must be one partition. Nothing was changed.',
      },
    );
  }

  /** @throws NOT_FOUND, GENERATION_UNKNOWN */
  get backup(): RecordedBackup & { of: NonNullable<RecordedBackup['of']> } {
    const { backup: name } = this.request;
    const { group } = this.fence;
    const all = this.vault.backups();
    const found =
      name === ''
        ? all.find(({ state, of }) => state === 'complete' && of?.group === group)
        : all.find((one) => one.name === name);
    if (found === undefined)
      throw new AntipodeError(
        'NOT_FOUND',
        `there is no ${name === '' ? 'complete backup' : `backup ${name}`} of group ${group} by this site in the vault`,
        {
          details: { group },
          hint: `\`antipode archive list ${group}\` has the backups that are on record.`,
        },
      );
    const { of } = found;
    if (of?.group === group) return { ...found, of };
    throw new AntipodeError(
      'GENERATION_UNKNOWN',
      `backup ${found.name} is not one of group ${group}, by the records of this site`,
      {
        details: { group },
        hint: 'Only a backup that this site has made for the group can be proved. Use the vendor tool for others.',
      },
    );
  }

  /** Signed where an identity of this site can sign. A vault is worked with when its HSM is gone, too. */
  async evidence(
    of: Readonly<Record<string, unknown>>,
    signer?: CopyProof['signer'],
  ): Promise<Pick<Response, 'evidence' | 'signature' | 'signer'>> {
    const { site, vault, request, startedMs } = this;
    const { group, epoch } = this.fence;
    const evidence = canonicalJson({
      archiveId: request.archiveId,
      work: archiveWorkName(request.work),
      group,
      site: site.name,
      orderEpoch: epoch.toString(),
      vault: vault.settings.serial,
      partition: vault.settings.partition.serial,
      ...of,
      startedMs,
      endedMs: site.clock.wallMs(),
      software: `antipode ${site.version}`,
    });
    const message = Buffer.concat([EVIDENCE_PREFIX, Buffer.from(evidence)]);
    const signed = (await signer?.(message)) ?? (await this.#signedByPartition(message));
    return { evidence, ...signed };
  }

  async #signedByPartition(message: Uint8Array): Promise<{ signature: Uint8Array; signer: Uint8Array } | undefined> {
    const { partitions, log } = this.site;
    for (const partition of partitions.all.filter(
      ({ failure, serial }) => failure === undefined && serial !== undefined,
    ))
      try {
        return await partition.use(async ({ provider, keyring: { identity } }) => ({
          signature: await provider.signAsIdentity(identity.handle, message),
          signer: identity.publicHalf,
        }));
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        log.debug('a partition cannot sign the evidence of a vault', { partition: partition.settings.name });
      }
    return undefined;
  }
}

/** How many objects arrived, those included that an application made meanwhile. */
export const arrived = ({ objects, added = 0 }: MoveReport): number =>
  objects.filter(({ state }) => state === 'moved').length + added;

const NOTHING: ProofSummary = { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0, notExercised: [] };

/** An object that is not there has failed, too. */
export const withMissing = (done: CopyProof | undefined): ProofSummary =>
  done === undefined
    ? NOTHING
    : {
        ...done.proof,
        failed: done.proof.failed + done.missing.length,
        failedObjectIds: [...done.proof.failedObjectIds, ...done.missing],
      };

/** A drill: a key that works under another name, or with other rights, is not the one that programs would find. */
export function withUnlike(done: CopyProof | undefined): ProofSummary {
  const proof = withMissing(done);
  const failed = new Set(proof.failedObjectIds);
  const unlike = (done?.altered ?? []).filter((objectId) => !failed.has(objectId));
  return {
    ...proof,
    proved: proof.proved - unlike.length,
    failed: proof.failed + unlike.length,
    failedObjectIds: [...proof.failedObjectIds, ...unlike],
  };
}
