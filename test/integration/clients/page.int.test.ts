/**
 * The page docs/clients.md, block by block, with the real programs, beside one real system of three sites. All of them
 * make their keys at the active site. When the standbys have acknowledged them, the site is lost: its processes are
 * killed, its token and its files are removed. After one failover they use their keys by the same blocks where `antipode
 * resolve` says: another token, with another label, serial number and PIN.
 */
import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { environmentOf } from '@antipode/cli/testing';
import { FailoverPolicy } from '@antipode/protocol';
import { makeApplicationFolder } from '@antipode/setup';
import { PROGRAMS } from '@antipode/site-agent';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endProcessesOf } from '../../support/children.ts';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { type BlockKind, type ProgramSection, placeOf, readPage, sectionsOf } from '../../support/programs-page.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { SOFTHSM_MODULE, temporaryFolder } from '../../support/tokens.ts';

const { place, sections } = readPage();
const BIN = dirname(fileURLToPath(new URL('../../../bin/antipode', import.meta.url)));
/** The files of the programs. The page says that every site needs a copy of what is not in the token. */
const desk = temporaryFolder('page');
const pins = temporaryFolder('pins');
const PROGRAMS_MIN = 8;

/** Labels and PINs that a program of one site cannot use at another one. */
const TOKENS: Readonly<Record<string, { label: string; pin: string }>> = {
  a: { label: 'a', pin: '77442200' },
  b: { label: 'standby b', pin: '5566-7788' },
  c: { label: 'c', pin: '88 99 00' },
};

interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** A machine at a site, as a user has it: nothing of ours but the command, and the folder of servers. */
class Machine {
  readonly #environment: NodeJS.ProcessEnv;

  constructor(site: string) {
    const pinFile = join(pins, site);
    writeFileSync(pinFile, TOKENS[site]!.pin, { mode: 0o600 });
    this.#environment = {
      PATH: `${BIN}:${process.env['PATH']}:/usr/sbin:/sbin`,
      HOME: desk,
      LC_ALL: 'C.UTF-8',
      ANTIPODE_CONFIG: join(system.folder, 'application', 'application.yaml'),
      ...system.site(site).token.environment,
      PIN_FILE: pinFile,
    };
  }

  /** Ends with this process. */
  #run(script: string, environment: Readonly<Record<string, string>>): Promise<Ended> {
    const args = ['--pdeathsig', 'KILL', '--', 'sh', '-c', script];
    const options = { cwd: desk, env: { ...this.#environment, ...environment }, timeout: 60_000 };
    return new Promise((resolve) => {
      execFile('setpriv', args, options, (error, output, errors) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), output, errors }),
      );
    });
  }

  /** The variables that a script adds to its shell, once they say that this site serves the group. */
  placeBy(script: string, site: string): Promise<Record<string, string>> {
    return system.until(`the command sends programs to site ${site}`, async () => {
      const { output } = await this.#run(script, {});
      const names = /^(ANTIPODE|PKCS11)_/;
      const lines = output.split('\n').filter((line) => names.test(line) && !line.startsWith('ANTIPODE_CONFIG='));
      const found = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
      return found['ANTIPODE_SITE'] === site && found;
    });
  }

  /** Runs the blocks of a kind, in their order, with the variables of a place. */
  async run(
    { blocks }: ProgramSection,
    kind: BlockKind,
    environment: Readonly<Record<string, string>>,
  ): Promise<Ended[]> {
    const ended: Ended[] = [];
    for (const block of blocks) if (block.kind === kind) ended.push(await this.#run(block.script, environment));
    return ended;
  }
}

/** A shell into which the place is read as the page says, and which then prints its variables. */
const inShell = `set -a\n${place}env`;
const inProgram = `antipode run ${GROUP} -- env`;

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

let system: TestSystem;
/** The guesses of `partition check`, of all keys that stay behind. */
let madeBy: string[];
let uncaptured: string[];
let after: { machine: Machine; place: Record<string, string>; byRun: Record<string, string> };
const made = new Map<string, Ended[]>();
const stays = new Map<string, Ended[]>();
const usedAtSource = new Map<string, Ended[]>();
const usedTooEarly = new Map<string, Ended[]>();

/** As `antipode resolve` will say when the site is active. */
function placeAt(site: string, epoch: bigint): Record<string, string> {
  const { serial } = system.site(site);
  const state = { siteState: 'up', partitionErrorCode: '', answeredBy: '', isLeader: true, ageMs: 0 };
  const { label } = TOKENS[site]!;
  return environmentOf({ group: GROUP, site, epoch, module: SOFTHSM_MODULE, tokenLabel: label, serial, ...state });
}

interface Checked {
  readonly objects: readonly { readonly isProtected: boolean; readonly madeBy?: readonly string[] }[];
}

beforeAll(async () => {
  // Nobody captures by itself, so that the standbys are empty until it is ordered. A person fails over, so that a machine
  // that is busy with making keys loses no site.
  system = await TestSystem.start({
    processes: ['a'],
    failoverPolicy: FailoverPolicy.MANUAL,
    rpoSeconds: 86_400,
    tokens: (site) => TOKENS[site]!,
  });
  await makeApplicationFolder({
    folder: join(system.folder, 'application'),
    authority: join(system.folder, 'authority'),
    name: 'programs',
    coordinators: [{ id: 'main', address: `localhost:${operatorConfigOf(system.folder).port}` }],
    agent: { site: 'b', address: `localhost:${system.agent('b').port}` },
  });
  const [a, b] = [new Machine('a'), new Machine('b')];
  const atA = await a.placeBy(inShell, 'a');
  for (const section of sections) {
    const { program } = section;
    made.set(program, await a.run(section, 'once', atA));
    usedTooEarly.set(program, await b.run(section, 'use', placeAt('b', 1n)));
    usedAtSource.set(program, await a.run(section, 'use', atA));
    stays.set(program, await a.run(section, 'stays', atA));
  }
  const { configFile, token, folder } = system.site('a');
  const { stdout } = await antipode(['partition', 'check', 'main', '--config', configFile, '--json']);
  const unprotected = (JSON.parse(stdout) as Checked).objects.filter(({ isProtected }) => !isProtected);
  madeBy = unprotected.map(({ madeBy: [first = '', ...more] = [] }) => (more.length > 0 ? 'unknown' : first)).sort();
  const { state } = await system.replicate(['b', 'c']);
  uncaptured = state.newest!.uncaptured.map(({ reason }) => reason);
  await system.stopAgent('a');
  token.remove();
  rmSync(folder, { recursive: true });
  await system.moveTo('b');
  after = { machine: b, place: await b.placeBy(inShell, 'b'), byRun: await b.placeBy(inProgram, 'b') };
}, 300_000);

afterAll(async () => {
  endProcessesOf(desk);
  await system?.close();
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
  const before = (fences: string): string => `## Before you start\n\n${fences}`;
  const line = '```sh place\ntrue\n```\n';
  expect(placeOf(before(line))).toBe('true\n');
  for (const wrong of ['', line + line]) expect(() => placeOf(before(wrong))).toThrow('Before you start: ');
});

it('sends programs to the token of the standby after the failover, by both commands of the page', () => {
  expect(after.place).toEqual(placeAt('b', 2n));
  expect(after.byRun).toEqual(after.place);
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
  expect(uncaptured).toEqual(madeBy.map(() => 'unextractable'));
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
    const { machine, place } = after;
    const fails = async (kind: BlockKind): Promise<void> =>
      expectFailures(section, kind, await machine.run(section, kind, place));
    await fails('fails-elsewhere');
    expect((await machine.run(section, 'use', place)).map(judged)).toEqual(outputs(section, 'use').map(good));
    await fails('fails');
    if (process.getuid?.() === 0) await fails('fails-as-root');
  });
});
