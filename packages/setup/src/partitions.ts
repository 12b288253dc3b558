/** Partitions in the text of an agent.yaml: everything that is there stays as it is, comments too. */
import { AntipodeError } from '@antipode/runtime';
import { isSeq, parseDocument, stringify, YAMLSeq } from 'yaml';
import type { PartitionDraft } from './folders.ts';

/** The block to paste into an agent.yaml. */
export const partitionsText = (drafts: readonly PartitionDraft[]): string => stringify({ partitions: drafts });

/** The text with further partitions behind the others. @throws CONFIG_INVALID if it cannot be read */
export function withPartitions(text: string, drafts: readonly PartitionDraft[]): string {
  const document = parseDocument(text);
  const [fault] = document.errors;
  const listed = document.get('partitions') ?? new YAMLSeq();
  if (fault !== undefined || !isSeq(listed))
    throw new AntipodeError('CONFIG_INVALID', fault?.message ?? 'partitions: expected a list', {
      hint: 'Correct the file and run the command again. Nothing was changed.',
    });
  for (const draft of drafts) listed.add(document.createNode(draft));
  document.set('partitions', listed);
  return document.toString();
}

/** A name for a partition, made of the label of its token. */
export function partitionName(label: string): string {
  const name = label
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63);
  return name === '' ? 'main' : name;
}
