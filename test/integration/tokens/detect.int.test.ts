/** `partition detect`: real SoftHSM tokens, and modules beside them that hang, crash, or are none. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { detectTokens } from '@antipode/hsm-core';
import { systemClock } from '@antipode/runtime';
import { loadAgentConfig } from '@antipode/site-agent';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { antipode } from '../../support/command.ts';
import { EXTRA_SLOT, type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { makeToken, SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';

let token: TestToken;
let liar: LyingToken;
beforeAll(() => {
  token = makeToken('detected');
  liar = lying(makeToken('liar'));
});
afterAll(() => {
  token?.remove();
  liar?.remove();
});

const detect = (modules: readonly string[], environment: Readonly<Record<string, string>>, silenceMsMax = 2_500) =>
  detectTokens(
    modules.map((module) => ({ module, source: 'test' })),
    { clock: systemClock, environment, silenceMsMax },
  );

/** A library that does this when it is loaded. */
function library(name: string, body: string): string {
  const source = join(token.folder, `${name}.c`);
  writeFileSync(
    source,
    `#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void begin(void) { ${body} }\n`,
  );
  const path = join(token.folder, `${name}.so`);
  execFileSync('gcc', ['-shared', '-fPIC', '-o', path, source]);
  return path;
}

describe('modules side by side', () => {
  it('tell their tokens, whatever the ones before them do', async () => {
    const [crash, hang, none] = [
      library('crash', 'abort();'),
      library('hang', 'for (;;) pause();'),
      library('none', ''),
    ];
    const found = await detect([crash, hang, none, '/nowhere/p11.so', SOFTHSM_MODULE], token.environment);
    expect(found.map(({ problem }) => problem)).toEqual([
      'its process ended with SIGABRT',
      'it did not answer within 2.5 s',
      expect.stringContaining('cannot use the PKCS#11 module'),
      expect.stringContaining('cannot use the PKCS#11 module'),
      '',
    ]);
    expect(found[4]!.tokens.map(({ label, state }) => [label, state])).toEqual([
      ['detected', 'ready'],
      // SoftHSM always has one more slot.
      ['', 'uninitialised'],
    ]);
  });

  it('tell a token without a user PIN', async () => {
    const bare = makeToken('bare');
    try {
      execFileSync(
        'pkcs11-tool',
        ['--module', SOFTHSM_MODULE, '--init-token', '--label', 'fresh', '--so-pin', '1234', '--slot-index', '1'],
        {
          env: { ...process.env, ...bare.environment },
          stdio: 'pipe',
        },
      );
      const [softhsm] = await detect([SOFTHSM_MODULE], bare.environment);
      expect(softhsm!.tokens.find(({ label }) => label === 'fresh')?.state).toBe('without-pin');
    } finally {
      bare.remove();
    }
  });

  it('tell their tokens though one slot never answers', async () => {
    const { module, environment = {} } = liar.config;
    liar.tell(
      { lie: 'hang', function: 'C_GetTokenInfo', slot: EXTRA_SLOT },
      { lie: 'extra-slot', code: 'CKR_DEVICE_ERROR' },
    );
    const [found] = await detect([module], environment);
    expect(found!.tokens.map(({ label }) => label)).toContain('liar');
    expect(found!.problem).toMatch(/^slot \d+ did not answer$/);
  });
});

describe('the command', () => {
  const environment = () => ['--environment', `SOFTHSM2_CONF=${token.environment.SOFTHSM2_CONF}`];

  it('finds SoftHSM on this machine by itself, and prints what agent.yaml needs', async () => {
    const { code, stdout } = await antipode(['partition', 'detect', '--json', ...environment()]);
    expect(code).toBe(0);
    const { partitions } = JSON.parse(stdout);
    expect(partitions).toContainEqual(
      expect.objectContaining({
        name: 'detected',
        tokenLabel: 'detected',
        module: SOFTHSM_MODULE,
        pinFile: 'detected.pin',
      }),
    );
    const { stdout: text } = await antipode(['partition', 'detect', ...environment()]);
    expect(text).toContain('tokenLabel: detected');
  });

  it('adds a partition to an agent.yaml, keeps its comments, and never adds one twice', async () => {
    const file = join(token.folder, 'agent.yaml');
    const before = `# Ours.\nsite: a\nlisten: localhost:7401\ncoordinator: { id: main, address: localhost:7400 }\ntls: { ca: ca.crt, certificate: tls.crt, key: tls.key }\ndataFolder: data\npartitions:\n  # The first one.\n  - { name: main, module: ${SOFTHSM_MODULE}, tokenLabel: payments, pinFile: payments.pin }\n`;
    writeFileSync(file, before);
    const words = ['--token-label', 'detected', '--pin-file', 'other.pin', '--role', 'scratch', '--write', file];
    const add = () => antipode(['partition', 'detect', ...environment(), ...words, '--json']);
    expect((await add()).code).toBe(0);
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(/^# Ours\.\n[\s\S]*# The first one\./);
    expect(loadAgentConfig(file).partitions.map(({ name, role }) => [name, role])).toEqual([
      ['main', 'member'],
      ['detected', 'scratch'],
    ]);
    const again = await add();
    expect([again.code, JSON.parse(again.stderr).error.code]).toEqual([1, 'FILE_EXISTS']);
    expect(readFileSync(file, 'utf8')).toBe(text);
    const missing = await antipode([
      'partition',
      'detect',
      ...environment(),
      '--token-label',
      'none',
      '--pin-file',
      'x',
      '--write',
      file,
      '--json',
    ]);
    expect(JSON.parse(missing.stderr).error.code).toBe('PARTITION_NOT_FOUND');
  });
});
