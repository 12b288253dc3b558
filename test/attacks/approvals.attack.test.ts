/**
 * A stolen coordinator against agents that guard their actions: it has everything that a coordinator has, one approval too
 * few, and approvals for other things. Real agents, over simulated tokens. Their refusals do not depend on a device.
 */
import type { ApprovalRequest, SignedApproval } from '@antipode/protocol';
import { MemberRole } from '@antipode/protocol';
import { SomeOperators } from '@antipode/protocol/testing';
import { canonicalJson } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { GUARDED_GROUP as GROUP, GuardedSites } from '@antipode/site-agent/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { attack, DEVICES } from './support/device.ts';

const [device] = DEVICES as [(typeof DEVICES)[0]];
const operators = new SomeOperators();
const NO_LIMITS = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };

describe('a stolen coordinator', () => {
  let sites: GuardedSites;

  beforeEach(async () => {
    sites = await GuardedSites.make(operators);
  });

  afterEach(() => sites.close());

  /** All that an approval could have changed at the sites. */
  const stateOf = (names: readonly string[]) =>
    names.map((name) => {
      const { journal } = sites.at(name).site;
      const serials = [`${name}-1`, `${name}-2`];
      return {
        name,
        seat: journal.tenure.seat(GROUP),
        keys: serials.flatMap((serial) => journal.domainKeys.of(serial).map(({ version }) => version)),
        uses: journal.approvals.latest(10),
        contents: sites.at(name).member.hsm.contents(),
      };
    });

  /** The approvals of other things that the attacker has, each with the code of its refusal. */
  function useless(good: ApprovalRequest): [what: string, code: string, approvals: SignedApproval[]][] {
    const nowMs = sites.network.clock.wallMs();
    const at = (hours: number) => new Date(nowMs + hours * 3_600_000).toISOString();
    const sign = (changes: Partial<ApprovalRequest>) => [operators.sign({ ...good, ...changes })];
    const signed = operators.sign(good);
    return [
      ['no approval', 'APPROVAL_REQUIRED', []],
      ['one signature too few', 'APPROVAL_INSUFFICIENT', [operators.sign(good, ['alice', 'bob'])]],
      ['one operator twice', 'APPROVAL_INSUFFICIENT', [operators.sign(good, ['alice', 'bob', 'bob'])]],
      ['the requester twice', 'APPROVAL_INSUFFICIENT', [operators.sign(good, ['alice', 'alice', 'bob'])]],
      ['no signature of the requester', 'APPROVAL_INSUFFICIENT', [operators.sign(good, ['bob', 'carol', 'dave'])]],
      ['operators of its own', 'APPROVAL_INVALID', [new SomeOperators(['alice', 'bob', 'carol']).sign(good)]],
      [
        'strangers',
        'APPROVAL_INSUFFICIENT',
        [{ ...signed, signatures: signed.signatures.map((one) => ({ ...one, operator: `not-${one.operator}` })) }],
      ],
      ['an expired approval', 'APPROVAL_EXPIRED', sign({ notBefore: at(-3), expires: at(-1) })],
      ['an approval of tomorrow', 'APPROVAL_EXPIRED', sign({ notBefore: at(23), expires: at(25) })],
      ['an approval for another group', 'APPROVAL_MISMATCH', sign({ group: 'other' })],
      [
        'an approval for another partition',
        'APPROVAL_MISMATCH',
        sign({ partitions: good.partitions.map((one) => ({ ...one, serial: `${one.serial}9` })) }),
      ],
      [
        'an approval for another site',
        'APPROVAL_MISMATCH',
        sign({ partitions: good.partitions.map((one) => ({ ...one, site: 'x' })) }),
      ],
      ['an approval for later epochs', 'APPROVAL_MISMATCH', sign({ epochs: { from: 7, to: 9 } })],
      ['an approval for earlier epochs', 'APPROVAL_MISMATCH', sign({ epochs: { from: 0, to: 0 } })],
      ['two of them', 'APPROVAL_INSUFFICIENT', [operators.sign(good, ['alice', 'bob']), ...sign({ group: 'other' })]],
    ];
  }

  /** Tries `order` with everything useless. Nothing changes, whatever comes with it. */
  async function refused(
    good: ApprovalRequest,
    { at, order }: { at: readonly string[]; order: (approvals: SignedApproval[]) => unknown },
  ): Promise<void> {
    const before = stateOf(at);
    for (const [what, code, approvals] of useless(good)) {
      expect([what, (await rejection(async () => order(approvals))).code]).toEqual([what, code]);
      expect(stateOf(at)).toEqual(before);
    }
    const { signatures } = operators.sign(good);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.keys(good)), fc.jsonValue({ maxDepth: 2 }), async (field, value) => {
        const altered = { ...good, [field]: value };
        fc.pre(canonicalJson(altered) !== canonicalJson(good));
        const approval = { request: new Uint8Array(Buffer.from(canonicalJson(altered))), signatures };
        const { code } = await rejection(async () => order([approval]));
        expect(['APPROVAL_INVALID', 'APPROVAL_MISMATCH']).toContain(code);
      }),
      { numRuns: 40 },
    );
    // Altered into what it needs.
    for (const other of [
      { nonce: 'f'.repeat(32) },
      { expires: good.notBefore.replace(/^\d+/, '2099') },
      { reason: 'x' },
    ]) {
      const approval = { request: operators.sign({ ...good, ...other }).request, signatures };
      expect((await rejection(async () => order([approval]))).code).toBe('APPROVAL_INVALID');
    }
    expect(stateOf(at)).toEqual(before);
  }

  attack(device, 'loss-without-approval', async () => {
    // Only c has the newest generation; a is lost.
    await sites.capture();
    await sites.bring('c');
    sites.at('a').stop();
    const good = sites.request();
    let operation = 0;
    await refused(good, {
      at: ['b', 'c'],
      order: (approvals) => sites.promote('b', 2n, approvals, `operation ${++operation}`),
    });
    const limited = (limits: ApprovalRequest['limits']) => [operators.sign({ ...good, limits })];
    for (const limits of [NO_LIMITS, { ...good.limits, losesAtMost: 0 }, { ...good.limits, keepsGeneration: 2 }])
      expect((await rejection(sites.promote('b', 2n, limited(limits)))).code).toBe('APPROVAL_MISMATCH');
    const approved = [operators.sign(good)];
    const { member } = await sites.promote('b', 2n, approved);
    expect(member).toMatchObject({ role: MemberRole.ACTIVE, epoch: 2n });
    return 'refused';
  });

  attack(device, 'hidden-loss', async () => {
    // Nobody says so, but c has more than b. The coordinator keeps them from hearing each other.
    await sites.capture();
    await sites.bring('c');
    sites.at('a').stop();
    sites.introduce('b', ['a']);
    const good = sites.request({ limits: { losesAtMost: 9, keepsGeneration: 0, withoutHearing: ['c'] } });
    await refused(good, { at: ['b', 'c'], order: (approvals) => sites.promote('b', 2n, approvals) });
    const silent = { ...good, limits: { ...good.limits, withoutHearing: ['a'] } };
    expect((await rejection(sites.promote('b', 2n, [operators.sign(silent)]))).code).toBe('APPROVAL_MISMATCH');
    expect(sites.at('b').site.journal.tenure.seat(GROUP)?.role).toBe('standby');
    return 'refused';
  });

  attack(device, 'approval-again', async () => {
    await sites.capture();
    await sites.bring('b');
    sites.at('a').stop();
    sites.introduce('b', ['a']);
    const used = [
      operators.sign(sites.request({ limits: { losesAtMost: 1, keepsGeneration: 0, withoutHearing: ['c'] } })),
    ];
    await sites.promote('b', 2n, used);
    await sites.promote('b', 2n, used);
    // At another target, which has less and asks the site that has used it.
    expect((await rejection(sites.promote('c', 3n, used, 'operation 2'))).code).toBe('APPROVAL_USED');
    expect(sites.at('c').site.journal.tenure.seat(GROUP)?.role).toBe('standby');
    // At the same site, in another epoch of the same operation, or in another operation.
    expect((await rejection(sites.promote('b', 4n, used))).code).toBe('APPROVAL_USED');
    expect((await rejection(sites.promote('b', 4n, used, 'operation 2'))).code).toBe('APPROVAL_USED');
    // The same nonce in another request, signed as well.
    const again = [operators.sign(sites.request({ reason: 'again', limits: { ...NO_LIMITS, withoutHearing: ['c'] } }))];
    expect((await rejection(sites.promote('b', 4n, again))).code).toBe('APPROVAL_USED');
    expect(sites.at('b').site.journal.tenure.seat(GROUP)?.role).toBe('standby');
    return 'refused';
  });

  attack(device, 'enrol-without-approval', async () => {
    const d = await sites.join('d');
    // The others too, whom site d does not know yet.
    const partitions = ['d', 'a', 'b', 'c'].map((site) => {
      const identity = sites.at(site).member.keyring.identity.sha256;
      return { site, serial: `${site}-1`, role: 'member' as const, identity };
    });
    const good = sites.request({
      action: 'enrol',
      partitions,
      epochs: { from: 1, to: 9 },
      limits: NO_LIMITS,
    });
    const all = ['a-1', 'b-1', 'c-1', 'd-1'];
    await refused(good, { at: ['a', 'b', 'c', 'd'], order: (approvals) => sites.distribute(2, all, approvals) });
    // Nor does it take a seat, or get what is sealed.
    await refused(good, {
      at: ['d'],
      order: (approvals) =>
        d.call('setRole', { fence: sites.fence(1n, 'a', approvals), serial: 'd-1', role: MemberRole.STANDBY }),
    });
    const pull = async (): Promise<void> => {
      for await (const _ of sites
        .at('b')
        .stream('pullManifest', { group: GROUP, generation: sites.newest }, { site: 'd' }))
        return;
    };
    expect((await rejection(pull())).code).toBe('PEER_REFUSED');
    // An approval of another identity for that partition is none of this one.
    const other = { ...good, partitions: [{ ...partitions[0]!, identity: 'ab'.repeat(32) }] };
    expect((await rejection(sites.distribute(2, all, [operators.sign(other)]))).code).toBe('APPROVAL_MISMATCH');
    const approved = await sites.distribute(2, all, [operators.sign(good)]);
    expect(approved.confirmedSerials).toContain('d-1');
    await pull();
    return 'refused';
  });

  attack(device, 'release-without-approval', async () => {
    const good = sites.request({
      action: 'release',
      partitions: [{ site: 'b', serial: 'b-1', role: 'member', identity: '' }],
      epochs: { from: 1, to: 1 },
      limits: NO_LIMITS,
    });
    const before = stateOf(['b']);
    for (const [, , approvals] of useless(good)) {
      sites.release('b', approvals);
      expect(stateOf(['b'])).toEqual(before);
    }
    sites.release('b', [operators.sign(good)]);
    expect(sites.at('b').site.journal.tenure.seat(GROUP)).toBeUndefined();
    return 'refused';
  });

  attack(device, 'reseat-without-approval', async () => {
    const good = sites.request({
      action: 'reseat',
      partitions: [{ site: 'a', serial: 'a-1', role: 'member', identity: '' }],
      epochs: { from: 2, to: 2 },
      limits: NO_LIMITS,
    });
    const order = (approvals: SignedApproval[]) =>
      sites.at('a').call('reseat', { fence: sites.fence(2n, 'a', approvals), serial: 'a-1', role: MemberRole.ACTIVE });
    await refused(good, { at: ['a'], order });
    expect(sites.at('a').site.journal.tenure.fence(GROUP)?.epoch).toBe(1n);
    await order([operators.sign(good)]);
    expect(sites.at('a').site.journal.tenure.fence(GROUP)?.epoch).toBe(2n);
    return 'refused';
  });

  attack(device, 'break-glass-with-too-few', async () => {
    await sites.capture();
    await sites.bring('c');
    sites.at('a').stop();
    const glass = sites.request({ action: 'break-glass', limits: NO_LIMITS, epochs: { from: 2, to: 9 } });
    expect((await rejection(sites.promote('b', 2n, [operators.sign(glass)]))).code).toBe('APPROVAL_INSUFFICIENT');
    const all = [operators.sign(glass, ['alice', 'bob', 'carol', 'dave'])];
    await sites.promote('b', 2n, all);
    // For one operation only, whatever that still has to do.
    expect((await rejection(sites.promote('b', 4n, all, 'operation 2'))).code).toBe('APPROVAL_USED');
    await sites.promote('b', 4n, all);
    return 'refused';
  });

  attack(device, 'retention-below-floor', async () => {
    const { site } = sites.at('a');
    const rules = site.deletions.rules(
      { group: GROUP, serial: 'a-1' },
      { policy: { retentionMs: 1n, lossObjects: 0, lossPercent: 0 } },
      [],
    );
    expect(rules.retentionMs).toBe(site.deletions.retentionMsMin);
    return 'refused';
  });
});
