/**
 * The page on programs, followed to the letter: every command of docs/clients.md runs as it is written there. The first
 * block of a section runs at the active site, the second one at a standby when the first token is gone.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { makeToken, SOFTHSM_MODULE, type TestToken, temporaryFolder } from '../../support/tokens.ts';

const PAGE = readFileSync(fileURLToPath(new URL('../../../docs/clients.md', import.meta.url)), 'utf8');
const desk = temporaryFolder('clients');

/** The shell blocks of each section, by its title. */
const sections = PAGE.split(/^## /m)
  .slice(1)
  .map((section) => ({
    title: section.slice(0, section.indexOf('\n')),
    blocks: [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block!),
  }));
const [settings, ...others] = sections;
const PROGRAMS = others.filter(({ blocks }) => blocks.length > 0);

function run(block: string, { label, folder, environment }: TestToken): void {
  const variables = { MODULE: SOFTHSM_MODULE, TOKEN: label, PIN_FILE: join(folder, `${label}.pin`) };
  const env = { ...process.env, ...environment, ...variables };
  execFileSync('bash', ['-euo', 'pipefail', '-c', block], { cwd: desk, env, stdio: 'pipe' });
}

let a: TestMember;
let b: TestMember;
let generation: SealedGeneration['generation'];

beforeAll(async () => {
  // One label at every site, as the page wants it.
  [a, b] = await Promise.all([TestMember.on(makeToken('payments')), TestMember.on(makeToken('payments'))]);
  const group = new SealedGroup();
  await enrolTogether([a, b], { group: group.name, version: 1 });
  run(settings!.blocks[1]!, a.token);
  for (const { blocks } of PROGRAMS) run(blocks[0]!, a.token);
  const target = await group.captured(a);
  generation = target.generation;
  await a.close();
  await group.apply(b, target);
  const { contentDigest, proof } = await group.verify(b, target);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
});

afterAll(async () => {
  const pid = join(desk, 'nginx.pid');
  if (existsSync(pid)) process.kill(Number(readFileSync(pid, 'utf8')));
  await Promise.all([a, b].map((member) => member?.close()));
  rmSync(desk, { recursive: true, force: true });
});

it('has two blocks in each section, and settings that the test knows', () => {
  expect(settings!.blocks[0]!.match(/^\w+(?==)/gm)).toEqual(['MODULE', 'TOKEN', 'PIN_FILE']);
  expect(settings!.blocks[0]).toContain(`MODULE=${SOFTHSM_MODULE}`);
  for (const { title, blocks } of PROGRAMS) expect([title, blocks.length]).toEqual([title, 2]);
  expect(PROGRAMS.length).toBeGreaterThanOrEqual(9);
});

it('makes keys that are all captured', () => {
  expect(generation.uncaptured).toEqual([]);
});

it.each(PROGRAMS.map(({ title, blocks }) => [title, blocks[1]!] as const))('%s works at the standby', (_, use) => {
  run(use, b.token);
});
