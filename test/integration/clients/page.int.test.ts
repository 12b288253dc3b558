/**
 * The page docs/clients.md, block by block, with the real programs. They make keys at one site, and use them by the same
 * blocks at another one, when the first is gone: another token, with another label, serial number and PIN.
 */
import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentOf } from '@antipode/cli/testing';
import type { SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { PROGRAMS } from '@antipode/site-agent';
import { type CheckedPartition, checkOf } from '@antipode/site-agent/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endProcessesOf } from '../../support/children.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { type BlockKind, type ProgramSection, readPage, sectionsOf } from '../../support/programs-page.ts';
import { makeToken, SOFTHSM_MODULE, temporaryFolder } from '../../support/tokens.ts';

const sections = readPage();
/** The files of the programs. The page says that every site needs a copy of what is not in the token. */
const desk = temporaryFolder('page');
const pins = temporaryFolder('pins');
const PROGRAMS_MIN = 8;

interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

class Site {
  readonly member: TestMember;
  readonly #environment: NodeJS.ProcessEnv;

  private constructor(member: TestMember, pinFile: string) {
    this.member = member;
    const { label, environment } = member.token;
    const place = { group: 'payments', site: label, epoch: 1n, module: SOFTHSM_MODULE, tokenLabel: label };
    const state = { siteState: 'up', partitionErrorCode: '', answeredBy: '', isLeader: true, ageMs: 0 };
    this.#environment = {
      // As a user has it: nothing of ours, and the folder of servers.
      PATH: `${process.env['PATH']}:/usr/sbin:/sbin`,
      HOME: desk,
      LC_ALL: 'C.UTF-8',
      ...environment,
      ...environmentOf({ ...place, ...state, serial: member.serial }),
      PIN_FILE: pinFile,
    };
  }

  static async make(label: string, pin: string): Promise<Site> {
    const pinFile = join(pins, label.replace(' ', '-'));
    writeFileSync(pinFile, pin, { mode: 0o600 });
    return new Site(await TestMember.on(makeToken(label, { pin })), pinFile);
  }

  /** Ends with this process. */
  #run(script: string): Promise<Ended> {
    const args = ['--pdeathsig', 'KILL', '--', 'sh', '-c', script];
    const options = { cwd: desk, env: this.#environment, timeout: 60_000 };
    return new Promise((resolve) => {
      execFile('setpriv', args, options, (error, output, errors) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), output, errors }),
      );
    });
  }

  /** Runs the blocks of a kind, in their order. */
  async run({ blocks }: ProgramSection, kind: BlockKind): Promise<Ended[]> {
    const ended: Ended[] = [];
    for (const block of blocks) if (block.kind === kind) ended.push(await this.#run(block.script));
    return ended;
  }
}

/** Without what a block printed to its standard error, where it ended well. */
const judged = ({ code, output, errors }: Ended): Ended => ({ code, output, errors: code === 0 ? '' : errors });
const good = (output: string): Ended => ({ code: 0, output, errors: '' });

const outputs = ({ blocks }: ProgramSection, kind: BlockKind): string[] =>
  blocks.filter((block) => block.kind === kind).map(({ output }) => output);

function expectFailures(section: ProgramSection, kind: BlockKind, ended: readonly Ended[]): void {
  for (const [index, part] of outputs(section, kind).entries()) {
    const { code, output, errors } = ended[index]!;
    expect([code !== 0, output + errors]).toEqual([true, expect.stringContaining(part.trim())]);
  }
}

let a: Site;
let b: Site;
let generation: SealedGeneration['generation'];
/** The guesses of `partition check`, of all keys that stay behind. */
let madeBy: string[];
const made = new Map<string, Ended[]>();
const stays = new Map<string, Ended[]>();
const usedAtSource = new Map<string, Ended[]>();
const usedTooEarly = new Map<string, Ended[]>();

beforeAll(async () => {
  [a, b] = await Promise.all([Site.make('a', '77442200'), Site.make('standby b', '5566-7788')]);
  const members = [a.member, b.member];
  const group = new SealedGroup();
  await enrolTogether(members, { group: group.name, version: 1 });
  for (const section of sections) {
    const { program } = section;
    made.set(program, await a.run(section, 'once'));
    usedTooEarly.set(program, await b.run(section, 'use'));
    usedAtSource.set(program, await a.run(section, 'use'));
    stays.set(program, await a.run(section, 'stays'));
  }
  // Without a group, the journal is not read.
  const journal = {} as CheckedPartition['journal'];
  const { objects } = await checkOf({ ...a.member, journal, settings: { name: 'main' }, seat: undefined });
  const unprotected = objects.filter(({ isProtected }) => !isProtected);
  madeBy = unprotected.map(({ madeBy: [first = '', ...more] = [] }) => (more.length > 0 ? 'unknown' : first)).sort();
  const target = await group.captured(a.member);
  generation = target.generation;
  await a.member.close();
  await group.apply(b.member, target);
  const { contentDigest, proof } = await group.verify(b.member, target);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
}, 300_000);

afterAll(async () => {
  endProcessesOf(desk);
  await Promise.all([a, b].map((site) => site?.member.close()));
  for (const folder of [desk, pins]) rmSync(folder, { recursive: true, force: true });
});

it('shows at least eight programs, each with a key that it makes and uses', () => {
  const kinds = ['once', 'use'] as const;
  const whole = sections.filter((section) => kinds.every((kind) => outputs(section, kind).length > 0));
  expect(whole.map(({ program }) => program)).toEqual(sections.map(({ program }) => program));
  expect(whole.length).toBeGreaterThanOrEqual(PROGRAMS_MIN);
});

it('refuses a page with a block that it would not run', () => {
  const section = (fences: string): string => `## A program\n\n${fences}`;
  const use = '```sh use\ntrue\n```\n';
  const text = '```text\ndone\n```\n';
  expect(sectionsOf(section(use + text))).toMatchObject([{ program: 'A program', blocks: [{ output: 'done\n' }] }]);
  for (const wrong of [use, use + use, `\`\`\`sh\ntrue\n\`\`\`\n`, `\`\`\`sh once\ntrue\n\`\`\`\n${text}`])
    expect(() => sectionsOf(section(wrong))).toThrow('A program: ');
});

it('names the programs whose settings `partition check` shows', () => {
  const page = sections.map(({ text }) => text).join('');
  expect(PROGRAMS.filter((program) => !page.includes(program))).toEqual([]);
});

it('reports exactly the keys that stay behind on the page, and guesses who made them', () => {
  expect(madeBy).toEqual([
    'Knot DNS',
    'OpenDNSSEC',
    'SunPKCS11',
    'certutil',
    // One is made, and one brought in.
    'p11tool',
    'p11tool',
    // pkcs11-tool and PyKCS11 give any names.
    'unknown',
    'unknown',
  ]);
  const { uncaptured } = generation;
  expect(uncaptured.map(({ objectClass, reason }) => `${objectClass} ${reason}`)).toEqual(
    madeBy.map(() => 'private-key unextractable'),
  );
});

describe.each(sections)('$program', (section) => {
  const { program } = section;

  it('makes and uses its keys as the page says', () => {
    for (const { code, errors } of made.get(program)!) expect([code, errors]).toEqual([0, expect.anything()]);
    expect(usedAtSource.get(program)!.map(judged)).toEqual(outputs(section, 'use').map(good));
    expect(stays.get(program)!.map(({ code }) => code)).toEqual(stays.get(program)!.map(() => 0));
  });

  it('finds nothing at a standby to which nothing was replicated', () => {
    expect(usedTooEarly.get(program)!.map(({ code }) => code)).not.toContain(0);
  });

  it('fails at the standby where the page says so, and uses its keys there by the same blocks', async () => {
    expectFailures(section, 'fails-elsewhere', await b.run(section, 'fails-elsewhere'));
    expect((await b.run(section, 'use')).map(judged)).toEqual(outputs(section, 'use').map(good));
    expectFailures(section, 'fails', await b.run(section, 'fails'));
    if (process.getuid?.() === 0) expectFailures(section, 'fails-as-root', await b.run(section, 'fails-as-root'));
  });
});
