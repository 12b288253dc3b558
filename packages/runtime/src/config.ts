/** YAML configuration, checked against a schema; an error names file, line, column and what was expected. */
import { type Document, isCollection, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { AntipodeError } from './errors.ts';
import { readTextFile } from './files/text-file.ts';

/**
 * Reads `path` and returns what `schema` makes of it.
 * @throws CONFIG_INVALID with `file:line:column: what was expected`, one line a fault
 */
export function loadConfig<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  const text = readTextFile(path, 'CONFIG_INVALID', {
    hint: 'Check that the file exists and that this user can read it, or name another file with --config.',
  });
  return parseConfig(text, { path, schema });
}

export function parseConfig<Schema extends z.ZodType>(
  text: string,
  { path, schema }: { path: string; schema: Schema },
): z.output<Schema> {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    prettyErrors: false,
    logLevel: 'error',
  });
  const invalid = (faults: readonly { offset: number; message: string }[]): AntipodeError => {
    const { line, col: column } = lines.linePos(faults[0]!.offset);
    const message = faults.map(({ offset, message }) => place(lines, path, offset) + message).join('\n');
    return new AntipodeError('CONFIG_INVALID', message, { details: { path, line, column } });
  };
  if (document.errors.length > 0)
    throw invalid(document.errors.map(({ pos, message }) => ({ offset: pos[0], message })));
  const parsed = schema.safeParse(plainValue(document, path));
  if (parsed.success) return parsed.data;
  throw invalid(
    parsed.error.issues.map((issue) => {
      const name = issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : '';
      return { offset: offsetOf(document, issue), message: `${name}${issue.message}` };
    }),
  );
}

/** An alias to nothing, or one that unfolds without end, shows only here. */
function plainValue(document: Document.Parsed, path: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AntipodeError('CONFIG_INVALID', `${path}: ${reason}`, { details: { path }, cause });
  }
}

function place(lines: LineCounter, path: string, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `${path}:${line}:${col}: `;
}

/** Where the fault stands: an unknown key at the key, a wrong value at the value, a missing key at its parent. */
function offsetOf(document: Document.Parsed, issue: z.core.$ZodIssue): number {
  if (issue.code === 'unrecognized_keys') {
    const parent = issue.path.length === 0 ? document.contents : document.getIn(issue.path, true);
    if (isCollection(parent)) {
      for (const item of parent.items) {
        const key = (item as { key?: { value?: unknown; range?: [number, number, number] } }).key;
        if (key?.range && issue.keys.includes(String(key.value))) return key.range[0];
      }
    }
  }
  for (let depth = issue.path.length; depth >= 0; depth -= 1) {
    const node = depth === 0 ? document.contents : document.getIn(issue.path.slice(0, depth), true);
    const range = (node as { range?: [number, number, number] } | undefined)?.range;
    if (range) return range[0];
  }
  return 0;
}
