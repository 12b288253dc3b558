/** Two members and a witness: the witness has the vote that an automatic failover needs. Simulated, and once for real. */
import { createHmac } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { FailoverPolicy } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedSystem } from '../../support/simulated-system.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const specOf = (witnessSites: string[], serialOf = (site: string) => `${site}-1`) => ({
  name: GROUP,
  members: ['a', 'b'].map((site) => ({ site, serial: serialOf(site) })),
  witnessSites,
  rpoSeconds: 60,
  failoverPolicy: FailoverPolicy.AUTOMATIC,
});

describe('a group of two members', () => {
  let system: SimulatedSystem;
  beforeAll(async () => {
    system = await SimulatedSystem.start({ seed: 'witness' }, { sites: ['a', 'b'], witnesses: ['w'], group: GROUP });
  });
  afterAll(() => system.close());
  const shown = async () => (await system.operator.getGroup({ group: GROUP })).group!;

  it.each([
    ['without a witness', [], 'REQUEST_INVALID'],
    ['with a witness that nobody has heard', ['v'], 'NOT_FOUND'],
    ['with a member that is to vote twice', ['b'], 'REQUEST_INVALID'],
  ])('does not fail over by itself %s', async (_what, witnesses, code) => {
    const refused = await system.until(rejection(system.operator.createGroup({ spec: specOf(witnesses) })));
    expect(refused.code).toBe(code);
  });

  it('fails over by itself with a witness, which persists the epoch and is shown', async () => {
    const { operationId } = await system.until(system.operator.createGroup({ spec: specOf(['w']) }));
    await system.until(system.ended(operationId));
    system.sites.get('a')!.member.hsm.addSecret('a key');
    await system.seen(async () => (await shown()).protection === 'protected');
    await system.lose('a');
    await system.seen(async () => (await shown()).activeSite === 'b');
    expect(system.sites.get('w')!.site.journal.tenure.fence(GROUP)).toEqual({ epoch: 2n, owner: 'b' });
    const told = await system.seen(async () => {
      const { votingSites, witnesses } = await shown();
      return witnesses[0]?.epoch === 2n && { votingSites, witnesses };
    });
    expect(told).toMatchObject({ votingSites: 3, witnesses: [{ site: 'w', siteState: 'up', epoch: 2n }] });
  });

  it('does not lose the witness while its vote is needed', async () => {
    const change = { kind: { case: 'removeWitness', value: { site: 'w' } } } as const;
    const { obstacleCode } = await system.until(system.operator.planGroupChange({ group: GROUP, change }));
    expect(obstacleCode).toBe('GROUP_CHANGE_REFUSED');
  });
});

it('an agent without an HSM votes, over the real wire and from its own disk, and hooks follow the move', async () => {
  const system = await TestSystem.start({ createGroup: false });
  const desk = await Desk.open();
  try {
    const moves = join(system.folder, 'moves');
    await system.withHooks(hooksAt(system.folder, { moves, url: desk.url }));
    await system.stopAgent('c');
    const { configFile } = system.site('c');
    const config = readFileSync(configFile, 'utf8');
    writeFileSync(configFile, `${config.slice(0, config.indexOf('partitions:'))}witness: true\n`);
    await system.startAgent('c');
    const { operator } = system;
    await system.until('the witness is heard', async () => {
      const { sites } = await operator.getStatus({});
      return sites.some(({ site, state, partitions }) => site === 'c' && state === 'up' && partitions.length === 0);
    });
    await system.insistent('the group has its domain key', async () => {
      const { operationId } = await operator.createGroup({ spec: specOf(['c'], (site) => system.site(site).serial) });
      if (operationId !== '') await system.ended(operationId);
    });
    await system.makeKey('a', '01');
    await system.replicate(['b']);
    await system.stopAgent('a');
    await system.untilActive('b');
    expect(system.agent('c').site.journal.tenure.fence(GROUP)).toEqual({ epoch: 2n, owner: 'b' });
    await system.until('a program and a web address know the new place', async () => {
      const told = existsSync(moves) ? readFileSync(moves, 'utf8').trim().split('\n') : [];
      return told.at(-1) === `${GROUP} b 2` && desk.roleChanges.at(-1) === `role-change/${GROUP}/2`;
    });
    // The question came before the move, signed with the secret of the hook.
    expect(desk.questions).toContain(`may-move/${GROUP}/1/b`);
  } finally {
    await desk.close();
    await system.close();
  }
}, 120_000);

const KEY = 'a secret of thirty bytes, say!';

/** A program that writes down each move, and a web address that gets messages and questions. */
function hooksAt(folder: string, { moves, url }: { moves: string; url: string }): string {
  const [program, secretFile] = [join(folder, 'note-move'), join(folder, 'desk.secret')];
  writeFileSync(program, `#!/bin/sh\necho "$ANTIPODE_GROUP $ANTIPODE_SITE $ANTIPODE_EPOCH" >> ${moves}\n`, {
    mode: 0o700,
  });
  writeFileSync(secretFile, `${KEY}\n`, { mode: 0o600 });
  return [
    'hooks:',
    '  roleChange:',
    `    - { name: note, command: [${program}] }`,
    `    - { name: desk, url: '${url}', secretFile: ${secretFile} }`,
    '  veto:',
    `    - { name: asked, url: '${url}', secretFile: ${secretFile}, ifUnanswered: refuse }`,
    '',
  ].join('\n');
}

/** Somebody else's server, which accepts what is signed. */
class Desk {
  readonly roleChanges: string[] = [];
  readonly questions: string[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      const body = Buffer.concat(parts).toString();
      const id = String(request.headers['webhook-id']);
      const signed = `${id}.${request.headers['webhook-timestamp']}.${body}`;
      const expected = `v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`;
      const isSigned = request.headers['webhook-signature'] === expected;
      if (isSigned) (id.startsWith('may-move') ? this.questions : this.roleChanges).push(id);
      response.writeHead(isSigned ? 200 : 401).end();
    });
  }

  static async open(): Promise<Desk> {
    const desk = new Desk();
    await new Promise<void>((resolve) => desk.#server.listen(0, '127.0.0.1', resolve));
    return desk;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/moves`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
