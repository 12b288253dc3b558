/** The tables of variables and outputs in the README of each Terraform module, between two marks. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export const TERRAFORM_READMES = ['host', 'site', 'coordinator', 'witness']
  .map((name) => `infra/terraform/modules/${name}`)
  .concat('infra/terraform/examples/three-sites')
  .map((folder) => `${folder}/README.md`);

const BEGIN = '<!-- Generated from variables.tf and outputs.tf by `npm run generate`. Do not edit. -->';
const END = '<!-- End of the generated part. -->';

interface Block {
  readonly name: string;
  readonly body: string;
}

/** Blocks of one kind. `terraform fmt` puts the closing brace of a block alone into the first column. */
export function blocksIn(source: string, kind: 'variable' | 'output'): Block[] {
  return [...source.matchAll(new RegExp(`^${kind} "(\\w+)" \\{\\n([\\s\\S]*?)^\\}`, 'gm'))].map(
    ([, name = '', body = '']) => ({ name, body }),
  );
}

/** The value of an argument of a block that is on one line, and the first line of others. */
function argument({ body }: Block, name: string): string | undefined {
  return new RegExp(`^  ${name} += (.*)$`, 'm').exec(body)?.[1];
}

function described(block: Block): string {
  const text = argument(block, 'description');
  if (text === undefined) throw new Error(`${block.name} has no description`);
  return JSON.parse(text) as string;
}

/** `list(object({` of a type on many lines is a list of objects. */
const typeOf = (block: Block): string =>
  (argument(block, 'type') ?? 'any').replace(/object\(\{.*$/, (_all, at: number) => (at === 0 ? 'object' : 'object)'));

function defaultOf(block: Block): string {
  const text = argument(block, 'default');
  return text === undefined ? 'required' : `\`${text}\``;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string => `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  const [head, ...rest] = rows;
  return [line(head!), line(widths.map((width) => '-'.repeat(width))), ...rest.map(line)].join('\n');
}

export function tablesOf({ variables, outputs }: { variables: string; outputs: string }): string {
  const inputs = blocksIn(variables, 'variable');
  const all = [
    ...inputs.filter((one) => defaultOf(one) === 'required'),
    ...inputs.filter((one) => defaultOf(one) !== 'required'),
  ];
  const rows = all.map((one) => [`\`${one.name}\``, typeOf(one), defaultOf(one), described(one)]);
  const results = blocksIn(outputs, 'output').map((one) => [`\`${one.name}\``, described(one)]);
  return `## Variables

${table([['name', 'type', 'default', 'meaning'], ...rows])}

## Outputs

${table([['name', 'meaning'], ...results])}`;
}

/** @param path of a README, from the root */
export function terraformReadme(path: string): string {
  const here = (name: string): string => readFileSync(join(root, dirname(path), name), 'utf8');
  const text = here('README.md');
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`${path} has no marks around its generated part`);
  const tables = tablesOf({ variables: here('variables.tf'), outputs: here('outputs.tf') });
  return `${before}${BEGIN}\n\n${tables}\n\n${END}${after}`;
}
