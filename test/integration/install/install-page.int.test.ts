/**
 * docs/install.md as a new user follows it: five fresh Debian machines with systemd and an SSH server, and each block of
 * the page typed in its order. Machines have no way out, so apt-get takes Debian's packages from its cache. The package is
 * built before. The test answers what only a reader knows: serial numbers, fingerprints and PINs.
 * `ANTIPODE_TELL_TIMES=1` prints the seconds of each step.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianRoot, missingForDebianRoot } from '../../support/debian-root.ts';
import { missingForMachine } from '../../support/machine.ts';
import { isAsShown, type RunbookBlock, sectionsOfRunbook } from '../../support/runbook-page.ts';
import { SshHosts } from '../../support/ssh-hosts.ts';
import { OFFICER_PIN, temporaryFolder, USER_PIN } from '../../support/tokens.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const PAGE = readFileSync(join(root, 'docs/install.md'), 'utf8');
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const DESK = 'desk';
const MACHINES = [DESK, 'coordinator', 'a', 'b', 'c'];
const ANSWERS: Readonly<Record<string, string>> = { pin: USER_PIN, 'officer-pin': OFFICER_PIN };
/** A promise of the page. */
const MINUTES_MAX = 15;
const PATIENCE_MS = 90_000;
const TELLS_TIMES = process.env['ANTIPODE_TELL_TIMES'] === '1';

const missing = [...new Set([...missingForMachine(), ...missingForDebianRoot()])];
if (missing.length > 0) console.error(`docs/install.md is not followed: this machine lacks ${missing.join(', ')}.`);

const steps = sectionsOfRunbook(PAGE).filter(({ blocks }) => blocks.length > 0);

describe.skipIf(missing.length > 0)('the page about the installation', { timeout: 600_000 }, () => {
  const folder = temporaryFolder('install');
  const transcript: string[] = [];
  /** `a=SERIAL=SHA256` of each partition, as `partition init` has printed it: a person notes it. */
  const noted = new Map<string, string>();
  const seconds = new Map<string, number>();
  let hosts: SshHosts;

  beforeAll(async () => {
    hosts = new SshHosts(join(folder, 'operator'), { base: debianRoot() });
    mkdirSync(join(folder, 'tmp'));
    const words = ['--quick', '--architecture', ARCHITECTURE, '--output', join(folder, 'dist')];
    execFileSync(process.execPath, [join(root, 'scripts/package/main.ts'), ...words], {
      stdio: 'pipe',
      env: { ...process.env, TMPDIR: join(folder, 'tmp') },
    });
    await hosts.boot(MACHINES);
    prepare();
  }, 900_000);
  afterAll(async () => {
    await hosts?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The page presumes these: names, a key for SSH, known hosts, and the files of `dist`. */
  function prepare(): void {
    const names = MACHINES.map((name) => `${hosts.host(name).address} ${name}.example.org\n`).join('');
    for (const name of MACHINES) hosts.machine(name).must('cat >> /etc/hosts', { input: names });
    const desk = hosts.machine(DESK);
    const known = MACHINES.reduce(
      (text, name) => text.replaceAll(`${hosts.host(name).address} `, `${name}.example.org `),
      readFileSync(hosts.knownHostsFile, 'utf8'),
    );
    writeFileSync(desk.path('root/.ssh/known_hosts'), known);
    writeFileSync(desk.path('root/.ssh/id_ed25519'), readFileSync(hosts.keyFile), { mode: 0o600 });
    for (const name of readdirSync(join(folder, 'dist')).filter((one) => /\.deb$|^SHA256SUMS$/.test(one)))
      copyFileSync(join(folder, 'dist', name), desk.path(`root/${name}`));
  }

  /** Examples of the page in words of these machines. */
  function inOurWords(script: string): string {
    return script
      .replaceAll('_amd64.deb', `_${ARCHITECTURE}.deb`)
      .replace(/--(scratch|scratch-peer) (\w)=<serial>/g, (_, option, site) => `--${option} ${known(site, 'scratch')}`)
      .replace(/--(member|peer) (\w)=<serial>/g, (_, option, site) => `--${option} ${known(site, 'main')}`)
      .replace(/=<sha256>/g, '')
      .replace(/(--(?:member|scratch) \w=[0-9a-f]+)=[0-9a-f]+/g, '$1');
  }
  function known(site: string, partition: string): string {
    const found = noted.get(`${site} ${partition}`);
    if (found === undefined) throw new Error(`the page has not shown yet what partition ${partition} of ${site} is`);
    return found;
  }

  async function type(place: string, block: RunbookBlock): Promise<void> {
    const script = inOurWords(block.script);
    const answers = block.answers.map((word) => ANSWERS[word] ?? word);
    const endMs = systemClock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      const { status, output } = await hosts.machine(place).type(`cd /root\n${script}`, answers);
      const printed = stripVTControlCharacters(output).replaceAll('\r', '');
      for (const [, role = '', pin = ''] of printed.matchAll(/ --(scratch-)?peer (\w=[0-9a-f]{16}=[0-9a-f]{64})$/gm))
        noted.set(`${place} ${role === '' ? 'main' : 'scratch'}`, pin);
      const isShown = block.expected === undefined || isAsShown(block.expected, printed);
      if (status === block.status && isShown) {
        transcript.push(`[${place}] ${script}${printed}`);
        return;
      }
      if (block.isRepeated && systemClock.monotonicMs() < endMs) {
        await systemClock.sleep(200);
        continue;
      }
      throw new Error(
        [
          `docs/install.md, "${block.heading}": the page does not hold at ${place}`,
          script,
          `expected status ${block.status} and\n${block.expected ?? '...'}`,
          `found status ${status} and\n${printed.slice(-4_000)}`,
          `before:\n${transcript.slice(-1).join('\n').slice(-1_500)}`,
        ].join('\n'),
      );
    }
  }

  it.each(steps.map(({ heading, blocks }) => [heading, blocks] as const))('"%s" holds', async (heading, blocks) => {
    const startedMs = systemClock.monotonicMs();
    for (const block of blocks)
      for (const place of (block.at === '' ? DESK : block.at).split(',')) await type(place, block);
    seconds.set(heading, (systemClock.monotonicMs() - startedMs) / 1_000);
  });

  it(`takes less than ${MINUTES_MAX} minutes of the machines`, () => {
    const sum = [...seconds.values()].reduce((total, one) => total + one, 0);
    if (TELLS_TIMES)
      console.error(
        [...seconds, ['together', sum] as const].map(([name, s]) => `${name}: ${s.toFixed(1)} s`).join('\n'),
      );
    expect(seconds.size).toBe(steps.length);
    expect(sum).toBeLessThan(MINUTES_MAX * 60);
  });

  it('leaves no PIN in a file', () => {
    expect(transcript.length).toBeGreaterThan(20);
    for (const site of ['a', 'b', 'c'])
      expect(hosts.machine(site).run(`grep -rlw ${USER_PIN} /etc /root /var/lib/antipode /var/log`).output).toBe('');
  });
});
