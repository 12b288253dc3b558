/** The Terraform modules: no provider, no secret that an expression could put into the state, and codes that are explained. */
import { expect, it } from 'vitest';
import { blocksIn, tablesOf } from '../../scripts/generate-terraform-docs.ts';
import { read, type SourceFile, sources } from './support/tree.ts';

const FOLDER = 'infra/terraform/';
const modules = sources({ under: [FOLDER], endings: ['.tf'] });
const scripts = [
  ...sources({ under: [FOLDER], endings: ['.sh', '/scripts/step'] }),
  ...sources({ under: [`${FOLDER}drift`], endings: ['drift'] }),
  ...sources({ under: [`${FOLDER}upgrade`], endings: ['upgrade'] }),
];
const page = read('docs/howto/terraform.md').source;

/** Expressions see the contents of no file: a digest of what is public, and whether a file is there, and nothing else. */
const readsIn = ({ path, source }: SourceFile): string[] =>
  [...source.matchAll(/\b(file|filebase64|templatefile|file(?:md5|sha1|sha512|base64sha\d+)|nonsensitive)\(/g)].map(
    ([, name]) => `${path}: ${name}`,
  );
/** `init` would download what these name. */
const kindsIn = ({ path, source }: SourceFile): string[] =>
  [
    ...source.matchAll(
      /^\s*(?:(?:resource|data|ephemeral) "(?!terraform_data")\w+"|required_providers|provider ").*$/gm,
    ),
  ].map(([line]) => `${path}: ${line.trim()}`);
const codesIn = ({ source }: SourceFile): string[] =>
  [...source.matchAll(/(?:\brefuse |\[)([A-Z]+(?:_[A-Z]+)+)\b/g)].map(([, code]) => code!);

it('modules read no file into an expression', () => {
  expect(modules.length).toBeGreaterThan(10);
  expect(modules.flatMap(readsIn)).toEqual([]);
});

it('modules need nothing but what Terraform and OpenTofu have built in', () => {
  expect(modules.flatMap(kindsIn)).toEqual([]);
});

it('digests are of the package only', () => {
  const digests = modules.flatMap(({ source }) => [...source.matchAll(/filesha256\(([^)]*)\)/g)].map(([, of]) => of!));
  expect([...new Set(digests)]).toEqual(['var.package_file']);
});

it('each code that a script or a module refuses with is in the how-to, and no other', () => {
  const used = new Set([...scripts, ...modules].flatMap(codesIn));
  const explained = [...page.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code!);
  expect(used.size).toBeGreaterThan(20);
  expect(explained.sort()).toEqual([...used].sort());
});

it('each of these codes is in a test that meets it', () => {
  const tests = sources({ under: ['test/integration/terraform/'], endings: ['.ts'] });
  const met = new Set(
    tests.flatMap(({ source }) => [...source.matchAll(/\b[A-Z]+(?:_[A-Z]+)+\b/g)].map(([code]) => code)),
  );
  const used = new Set([...scripts, ...modules].flatMap(codesIn));
  expect([...used].filter((code) => !met.has(code))).toEqual([]);
});

it('sees a file that is read, a provider, and a code', () => {
  const sample = (source: string): SourceFile => ({ path: 'a.tf', source });
  expect(readsIn(sample('a = file(var.x)\nb = fileexists(var.x)'))).toEqual(['a.tf: file']);
  expect(kindsIn(sample('resource "null_resource" "a" {\nresource "terraform_data" "b" {'))).toEqual([
    'a.tf: resource "null_resource" "a" {',
  ]);
  expect(codesIn(sample("refuse HOST_NOT_ROOT 'x'; printf '[PIN_FILE_MISSING] y'; A_B"))).toEqual([
    'HOST_NOT_ROOT',
    'PIN_FILE_MISSING',
  ]);
});

it('the tables of a module name type, default and meaning, required variables first', () => {
  const variables = `variable "one" {
  description = "First."
  type        = list(object({
    a = string
  }))
  default = []
}

variable "other" {
  description = "Second."
  type        = string
}
`;
  const outputs = 'output "result" {\n  description = "Third."\n  value       = 1\n}\n';
  expect(blocksIn(variables, 'variable').map(({ name }) => name)).toEqual(['one', 'other']);
  const rows = tablesOf({ variables, outputs })
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.replace(/ +/g, ' '));
  expect(rows).toEqual([
    '| `other` | string | required | Second. |',
    '| `one` | list(object) | `[]` | First. |',
    '| `result` | Third. |',
  ]);
});
