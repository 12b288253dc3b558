import { MemberRole, operatorKeyText, type SignedApproval } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock, rejection, thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { useApproval } from '../objects/deleted-objects.ts';
import { Journal } from '../storage/journal/journal.ts';
import { GUARDED_GROUP as GROUP, GuardedSites } from '../testing/guarded-sites.ts';
import { ApprovalRules, approvalsSchema } from './approval-rules.ts';

const operators = new SomeOperators();
const NO_LIMITS = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };

describe('an agent that guards its actions', () => {
  let sites: GuardedSites;

  beforeEach(async () => {
    sites = await GuardedSites.make(operators);
  });

  afterEach(() => sites.close());

  const roleOf = (name: string) => sites.at(name).site.journal.tenure.seat(GROUP)?.role;
  const usesAt = (name: string) => sites.at(name).site.journal.approvals.latest(10);

  it('is promoted without an approval if every other member is heard and none has more', async () => {
    await sites.promote('b', 2n);
    expect([roleOf('b'), usesAt('b')]).toEqual(['active', []]);
  });

  it('is promoted without hearing the site that was active last, if all others are heard', async () => {
    sites.at('a').stop();
    await sites.promote('b', 2n);
    expect(roleOf('b')).toBe('active');
  });

  it('is promoted while a standby is silent, if the site that was active before is heard', async () => {
    sites.at('c').stop();
    await sites.promote('b', 2n);
    expect(roleOf('b')).toBe('active');
  });

  it('does not take that for enough if another tenure can lie between', async () => {
    sites.at('c').stop();
    expect((await rejection(sites.promote('b', 3n))).code).toBe('APPROVAL_REQUIRED');
  });

  it('does not count a member that can still change under an earlier tenure', async () => {
    sites.at('a').stop();
    const order = { fence: sites.fence(2n, 'b') };
    expect((await rejection(sites.at('b').call('promote', order))).code).toBe('APPROVAL_REQUIRED');
    await sites.teach('c', 2n, 'b');
    await sites.at('b').call('promote', order);
    expect(roleOf('b')).toBe('active');
  });

  it('does not count a member in quarantine, whose journal may have forgotten a generation', async () => {
    sites.at('a').stop();
    await sites.teach('c', 2n, 'b');
    sites.at('c').site.journal.tenure.setQuarantine(GROUP, 'older copy');
    const order = { fence: sites.fence(2n, 'b') };
    expect((await rejection(sites.at('b').call('promote', order))).code).toBe('APPROVAL_REQUIRED');
    sites.at('c').site.journal.tenure.endQuarantine(GROUP);
    await sites.at('b').call('promote', order);
    expect(roleOf('b')).toBe('active');
  });

  it('is not promoted without an approval while nobody says what the others hold', async () => {
    sites.at('a').stop();
    sites.at('c').stop();
    expect((await rejection(sites.promote('b', 2n))).code).toBe('APPROVAL_REQUIRED');
    sites.introduce('b', ['a']);
    expect((await rejection(sites.promote('b', 2n))).code).toBe('APPROVAL_REQUIRED');
    const approval = operators.sign(sites.request({ limits: { ...NO_LIMITS, withoutHearing: ['c'] } }));
    await sites.promote('b', 2n, [approval]);
    expect(roleOf('b')).toBe('active');
  });

  it('counts what the site has that was active last, if that is heard', async () => {
    await sites.capture();
    expect((await rejection(sites.promote('b', 2n))).code).toBe('APPROVAL_REQUIRED');
    await sites.promote('b', 2n, [operators.sign(sites.request())]);
    expect(roleOf('b')).toBe('active');
  });

  it('takes one of several approvals, prepared for whichever target it turns out to be', async () => {
    await sites.capture();
    const night = operators.sign(sites.request({ limits: { losesAtMost: 1, keepsGeneration: 1, withoutHearing: [] } }));
    const other = operators.sign(sites.request({ group: 'other', nonce: 'a'.repeat(32) }));
    await sites.promote('c', 3n, [other, night]);
    expect([roleOf('c'), usesAt('c').map(({ action, approvedBy }) => [action, approvedBy])]).toEqual([
      'active',
      [['failover', ['bob', 'carol']]],
    ]);
  });

  it('has the use on record before it acts, and goes on with it after a crash, for that operation only', async () => {
    await sites.capture();
    const approved = [operators.sign(sites.request())];
    const b = sites.at('b');
    b.member.provider.prove = async () => {
      throw new Error('killed');
    };
    await expect(sites.promote('b', 2n, approved)).rejects.toThrow('killed');
    expect([roleOf('b'), usesAt('b').length]).toEqual(['standby', 1]);
    await b.member.reopen();
    await sites.restart('b');
    expect(usesAt('b')).toMatchObject([{ operation: 'operation 1', requestedBy: 'alice' }]);
    expect((await rejection(sites.promote('b', 2n, approved, 'operation 2'))).code).toBe('APPROVAL_USED');
    await sites.promote('b', 2n, approved);
    expect([roleOf('b'), usesAt('b').length]).toEqual(['active', 1]);
  });

  it('reports its rules and the approvals that it has used, and no key', async () => {
    await sites.capture();
    const approval = operators.sign(sites.request());
    await sites.promote('b', 2n, [approval]);
    const { approvalRules, approvalUses } = await sites.at('b').call('describe', {});
    const names = ['alice', 'bob', 'carol', 'dave'];
    expect(approvalRules).toEqual([{ group: '', required: 2, breakGlass: 3, operators: names }]);
    expect(approvalUses).toMatchObject([{ group: GROUP, action: 'failover', operationId: 'operation 1' }]);
  });

  it('keeps trusting what it trusted before, and nothing that is pinned later', async () => {
    const trusts = (serial: string) => {
      const { site, pins } = sites.at('a');
      const pin = pins.of(GROUP).find((one) => one.serial === serial)!;
      return site.trust.find(GROUP, pin.identity)?.serial;
    };
    await sites.join('d');
    expect(['b-1', 'b-2', 'd-1'].map(trusts)).toEqual(['b-1', 'b-2', undefined]);
    // Not by leaving the rules out of the configuration for a while either.
    await sites.restart('a', { guarded: false });
    expect(trusts('d-1')).toBe('d-1');
    await sites.restart('a');
    expect(['b-1', 'd-1'].map(trusts)).toEqual(['b-1', undefined]);
  });

  it('refuses a generation of a member whose enrolment was not approved, and says so', async () => {
    const d = await sites.join('d');
    const { signerSha256, ...sealed } = await sites.at('a').site.store.open(sites.newest.digest);
    const forged = { ...sealed, signerSha256: d.member.keyring.identity.sha256 };
    const check = async () => sites.at('b').site.trust.checkSource(forged);
    expect(signerSha256).not.toBe(forged.signerSha256);
    expect((await rejection(check)).code).toBe('APPROVAL_REQUIRED');
  });

  it('needs another approval for a member that was removed', async () => {
    const seat = { site: 'b', serial: 'b-1', role: 'member', identity: '' } as const;
    const limits = NO_LIMITS;
    const release = sites.request({ action: 'release', partitions: [seat], epochs: { from: 1, to: 1 }, limits });
    sites.release('b', [operators.sign(release)]);
    expect(roleOf('b')).toBeUndefined();
    const seatAgain = sites
      .at('b')
      .call('setRole', { fence: sites.fence(1n, 'a'), serial: 'b-1', role: MemberRole.STANDBY });
    expect((await rejection(seatAgain)).code).toBe('APPROVAL_REQUIRED');
  });

  it('tells its standing to members only', async () => {
    const ask = (site: string, nonces: string[] = []) =>
      sites.at('a').call('reportStanding', { group: GROUP, nonces }, { site });
    expect((await ask('b')).newest).toMatchObject({ generation: 1n });
    expect((await rejection(ask('x'))).code).toBe('PEER_REFUSED');
    expect((await rejection(ask('b', Array(17).fill('a')))).code).toBe('REQUEST_INVALID');
  });

  it('needs an operation for an approval, and takes no more than an order can need', async () => {
    await sites.capture();
    const approval = operators.sign(sites.request());
    expect((await rejection(sites.promote('b', 2n, [approval], ''))).code).toBe('REQUEST_INVALID');
    expect((await rejection(sites.promote('b', 2n, Array(17).fill(approval)))).code).toBe('REQUEST_INVALID');
  });
});

describe('a restore by hand', () => {
  const objects = ['0a', '0b'];
  const request = (changes: Parameters<typeof someRequest>[0] = {}, nowMs = 0) =>
    operators.sign(
      someRequest(
        {
          action: 'restore',
          partitions: [{ site: 'a', serial: 'a-1', role: 'member', identity: '' }],
          epochs: { from: 1, to: 1 },
          limits: NO_LIMITS,
          objects: ['0a', '0b', '0c'],
          ...changes,
        },
        nowMs,
      ),
    );

  it('needs an approval that names the objects, where the site guards the group', () => {
    const journal = Journal.inMemory({ prng: seededPrng('restore') });
    journal.tenure.raise(GROUP, { epoch: 1n, owner: 'a' });
    journal.tenure.setSeat(GROUP, 'a-1', 'active');
    const clock = new FakeClock({ originMs: 0 });
    const open = { journal, seat: journal.tenure.seat(GROUP)!, clock };
    const { required, breakGlass, operators: list } = operators.policy;
    const config = { site: 'a', approvals: { required, breakGlass, operators: [...list], groups: {} } };
    const use = (approval?: SignedApproval, wanted = objects) =>
      useApproval(open, { config, group: GROUP, objects: wanted, approval, log: silentLog });
    useApproval(open, { config: { site: 'a' }, group: GROUP, objects, approval: undefined, log: silentLog });
    expect(thrown(() => use()).code).toBe('APPROVAL_REQUIRED');
    expect(thrown(() => use(request({ objects: ['0a'] }))).code).toBe('APPROVAL_MISMATCH');
    expect(thrown(() => use(request({ epochs: { from: 2, to: 3 } }))).code).toBe('APPROVAL_MISMATCH');
    expect(journal.approvals.latest(9)).toEqual([]);
    use(request());
    // Repeated after a crash; but not for other objects.
    use(request());
    expect(thrown(() => use(request(), ['0c'])).code).toBe('APPROVAL_USED');
    expect(journal.approvals.latest(9)).toMatchObject([{ action: 'restore', approvedBy: ['bob', 'carol'] }]);
    // An approval for objects is none for a device that is initialised, and the other way round.
    const given = { config, group: GROUP, objects: ['0d'], log: silentLog };
    const other = { nonce: 'ab'.repeat(16), objects: ['0d'] };
    const vault = { ...given, action: 'prepare-vault' } as const;
    const codeOf = (approval: SignedApproval, options: Parameters<typeof useApproval>[1] | typeof given) =>
      thrown(() => useApproval(open, { ...options, approval })).code;
    expect(codeOf(request(other), vault)).toBe('APPROVAL_MISMATCH');
    expect(codeOf(request({ ...other, action: 'prepare-vault' }), given)).toBe('APPROVAL_MISMATCH');
    useApproval(open, { ...vault, approval: request({ ...other, action: 'prepare-vault' }) });
    expect(
      journal.approvals
        .latest(9)
        .map(({ action }) => action)
        .sort(),
    ).toEqual(['prepare-vault', 'restore']);
    journal.close();
  });
});

describe('the rules', () => {
  const list = operators.policy.operators.map(({ name, key }) => ({ name, key: operatorKeyText(key) }));
  const parsed = (value: unknown) => approvalsSchema.safeParse(value);
  const rules = (value: unknown) => new ApprovalRules(approvalsSchema.parse(value));

  it('are those of the site, and others for a group that has its own', () => {
    const groups = { strict: { required: 3 }, other: { operators: list.slice(1, 4) } };
    const found = rules({ required: 2, operators: list, groups });
    const brief = (group: string) => {
      const { required, breakGlass, operators: all } = found.of(group)!;
      return [required, breakGlass, all.length];
    };
    expect(['payments', 'strict', 'other', 'constructor'].map(brief)).toEqual([
      [2, 3, 4],
      [3, 3, 4],
      [2, 2, 3],
      [2, 3, 4],
    ]);
    expect(found.listed.map(({ group }) => group)).toEqual(['', 'other', 'strict']);
    expect([new ApprovalRules(undefined).of('payments'), new ApprovalRules(undefined).isSet]).toEqual([
      undefined,
      false,
    ]);
  });

  it.each<[string, unknown]>([
    ['as few operators as must sign: the requester does not count', { required: 2, operators: list.slice(0, 2) }],
    ['a name twice', { required: 1, operators: [list[0], list[1], { ...list[2], name: 'alice' }] }],
    ['a key twice', { required: 1, operators: [list[0], list[1], { ...list[0], name: 'eve' }] }],
    ['a key that is none', { required: 1, operators: [list[0], list[1], { name: 'eve', key: 'AAAA' }] }],
    ['nobody who must sign', { required: 0, operators: list }],
    ['a break glass that is easier', { required: 2, breakGlass: 1, operators: list }],
    ['a break glass that nobody can reach', { required: 2, breakGlass: 4, operators: list }],
    [
      'a group with too few operators',
      { required: 2, operators: list, groups: { g: { operators: list.slice(0, 2) } } },
    ],
    ['a misspelt field', { required: 2, operators: list, quorum: 2 }],
  ])('are refused with %s', (_what, value) => {
    expect(parsed(value).success).toBe(false);
  });
});
