/**
 * Steps of the module `host` at a machine whose service is in the hands of somebody else. They run as root, and the folder
 * of a service belongs to its user. A private mount of /var/lib takes the place of the machine.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { INFRA } from '../../support/terraform.ts';
import { temporaryFolder } from '../../support/tokens.ts';

/** A user that every machine has stands for that of the unit. */
const UNIT = 'nobody';
const SITE = '/var/lib/antipode/site';
const remote = (name: string): string => readFileSync(join(INFRA, 'modules/host/scripts/remote', `${name}.sh`), 'utf8');

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.error('The steps at a host are not tried: only root can make a mount of its own.');

describe.skipIf(!isRoot)('a step at a host whose service belongs to somebody else', () => {
  const folder = temporaryFolder('host-steps');
  const victim = join(folder, 'shadow');
  beforeEach(() => writeFileSync(victim, 'secret\n', { mode: 0o600 }));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** @param hostile what the user of the unit has done in its folder, as a shell script there */
  function run(step: string, { hostile, input = '', look }: { hostile: string; input?: string; look: string }) {
    const script = [
      'mount -t tmpfs none /var/lib',
      `mkdir -p ${SITE} && chown ${UNIT}: ${SITE} && cd ${SITE}`,
      `setpriv --reuid ${UNIT} --clear-groups sh -c ${JSON.stringify(hostile)}`,
      `name=a kind=site unit=${UNIT} health=x health_seconds=1 folder=${SITE}`,
      remote('common'),
      'property() { echo disabled; }; systemctl() { :; }; antipode() { echo joined; }; arguments=',
      `( ${remote(step)} )`,
      look,
    ].join('\n');
    const { status, stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-ec', script], {
      encoding: 'utf8',
      input,
    });
    if (status !== 0) throw new Error(`status ${status}: ${stderr}`);
    return stdout;
  }

  const kept = (): [string, number, string] => {
    const { uid, mode } = statSync(victim);
    return [readFileSync(victim, 'utf8'), uid, (mode & 0o777).toString(8)];
  };

  it('writes the configuration through no link', () => {
    const text = Buffer.from('site: a\n').toString('base64');
    const found = run('configuration', {
      hostile: `ln -s ${victim} agent.yaml; ln -s ${victim} agent.yaml.antipode-new`,
      input: `${SITE}/agent.yaml ${text}\n`,
      look: `stat -c "%F %U %a" ${SITE}/agent.yaml; cat ${SITE}/agent.yaml`,
    });
    expect(found).toBe(`regular file ${UNIT} 644\nsite: a\n`);
    expect(kept()).toEqual(['secret\n', 0, '600']);
  });

  it('writes the answer of a joining through no link', () => {
    const found = run('join', {
      hostile: `ln -s ${victim} .join-said; touch tls.crt`,
      look: 'true',
    });
    expect(found).toBe('');
    expect(kept()).toEqual(['secret\n', 0, '600']);
  });
});
