/** One tenure after another: numbers that never repeat, promotions that are proved, and orders that come too late. */
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
});

afterEach(() => sites.close());

const OF_B = fence(2n, 'b');

async function replicated(): Promise<Ref & { digest: string }> {
  const ref = await sites.captured();
  await sites.apply(b, ref);
  await sites.verify(b, ref);
  return ref;
}

/** As the coordinator does: everybody learns the epoch, then the new owner is promoted, then heartbeats bring a lease. */
async function failOver(to: SimulatedSite, by: ReturnType<typeof fence>, generation?: Ref): Promise<void> {
  for (const site of [a, b]) await seat(site, site === to ? MemberRole.STANDBY : MemberRole.FENCED, by);
  await to.call('promote', { fence: by, ...(generation === undefined ? {} : { generation }) });
  sites.renew(to, by.epoch);
}

const seat = (site: SimulatedSite, role: MemberRole, by: ReturnType<typeof fence>) =>
  site.call('setRole', { fence: by, serial: `${site.name}-1`, role });

/** The error of an order that waits for its turn on a member's partition while `meanwhile` happens. */
async function refusalAfter(
  site: SimulatedSite,
  { order, meanwhile }: { order: () => Promise<unknown>; meanwhile: () => void },
): Promise<string> {
  const gate = Promise.withResolvers<void>();
  const busy = site.site.partitions.bySerial(`${site.name}-1`).use(() => gate.promise);
  const refusal = rejection(order);
  await new Promise((resolve) => setImmediate(resolve));
  meanwhile();
  gate.resolve();
  await busy;
  return (await refusal).code;
}

describe('a capture', () => {
  const capture = (aboveGeneration: bigint) =>
    a.call('capture', { fence: fence(), domainKeyVersion: 1, aboveGeneration });

  it('is numbered above every generation that the group has ever recorded, and above the one before', async () => {
    expect((await capture(41n)).generation).toMatchObject({ generation: 42n });
    a.member.hsm.addSecret('next');
    expect((await capture(7n)).generation).toMatchObject({ generation: 43n });
  });

  it('has the number that was reserved for it, and is refused where that number is taken: the order came late', async () => {
    const reserved = (reservedGeneration: bigint) =>
      a.call('capture', { fence: fence(), domainKeyVersion: 1, reservedGeneration });
    expect((await reserved(7n)).generation).toMatchObject({ generation: 7n });
    a.member.hsm.addSecret('next');
    for (const number of [6n, 7n]) expect((await rejection(reserved(number))).code).toBe('GENERATION_NOT_NEWER');
    expect((await reserved(9n)).generation).toMatchObject({ generation: 9n });
  });

  it('makes no generation for a higher number alone', async () => {
    await capture(0n);
    expect(await capture(9n)).toMatchObject({ isNew: false, generation: { generation: 1n } });
  });

  it('gives a generation at the start of a tenure, although nothing has changed, signed by its own active member', async () => {
    const ref = await replicated();
    await failOver(b, OF_B, ref);
    const first = await b.call('capture', { fence: OF_B, domainKeyVersion: 1, aboveGeneration: 4n });
    expect(first).toMatchObject({ isNew: true, generation: { epoch: 2n, generation: 5n, objectCount: 2 } });
    expect(b.site.store.list(GROUP)[0]).toMatchObject({ epoch: 2n, number: 5n });
    expect(
      await b.site.store.open(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'captured')!),
    ).toMatchObject({
      signerSha256: b.member.keyring.identity.sha256,
      generation: { previousDigest: ref.digest },
    });
    expect(await sites.capture(b, OF_B)).toMatchObject({ isNew: false, generation: { generation: 5n } });
  });
});

describe('a promotion', () => {
  it('of a member with nothing is refused where the order names a generation, and taken where it names none', async () => {
    const { manifestDigest } = await sites.captured();
    await seat(b, MemberRole.STANDBY, OF_B);
    expect((await rejection(sites.promote(b, { manifestDigest }))).code).toBe('ROLE_REFUSED');
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('standby');
    const { member, proof } = await b.call('promote', { fence: OF_B });
    expect([member?.role, proof?.proved]).toEqual([MemberRole.ACTIVE, 0]);
  });

  it('of an old active member goes on from what it captured itself, once it is seated again', async () => {
    const own = await sites.captured();
    const again = fence(3n, 'a');
    await seat(a, MemberRole.FENCED, OF_B);
    expect((await rejection(a.call('promote', { fence: again, generation: own }))).code).toBe('ROLE_REFUSED');
    await failOver(a, again, own);
    a.member.hsm.addSecret('third tenure');
    const next = await sites.captured(a, again);
    expect((await a.site.store.open(next.digest)).generation).toMatchObject({ epoch: 3n, previousDigest: own.digest });
  });

  it('of an active member to a tenure of its own begins again: it is seated, proved, and only then active', async () => {
    const own = await sites.captured();
    const next = fence(2n, 'a');
    expect((await rejection(seat(a, MemberRole.ACTIVE, next))).code).toBe('ROLE_REFUSED');
    expect(a.site.journal.tenure.seat(GROUP)?.role).toBe('fenced');
    await seat(a, MemberRole.STANDBY, next);
    expect((await rejection(sites.capture(a, next))).code).toBe('ROLE_REFUSED');
    await failOver(a, next, own);
    expect(await sites.capture(a, next)).toMatchObject({ isNew: true, generation: { epoch: 2n } });
  });

  it('is repeated without harm, also when the member has captured since', async () => {
    const ref = await replicated();
    await failOver(b, OF_B, ref);
    await sites.captured(b, OF_B);
    const { member } = await sites.promote(b, ref, OF_B);
    expect(member).toMatchObject({ role: MemberRole.ACTIVE });
  });

  it('does not end in the role when its caller gives up while keys are proved, or before its turn', async () => {
    const ref = await replicated();
    await seat(b, MemberRole.STANDBY, OF_B);
    const giveUp = new AbortController();
    const order = (signal: AbortSignal) => b.call('promote', { fence: OF_B, generation: ref }, { signal });
    const prove = b.member.provider.prove.bind(b.member.provider);
    b.member.provider.prove = (...given) => {
      giveUp.abort();
      return prove(...given);
    };
    expect((await rejection(order(giveUp.signal))).code).toBe('TIMED_OUT');
    b.member.provider.prove = prove;
    const late = new AbortController();
    const proofs = vi.spyOn(b.member.provider, 'prove');
    const meanwhile = () => late.abort();
    expect(await refusalAfter(b, { order: () => order(late.signal), meanwhile })).toBe('TIMED_OUT');
    expect([b.site.journal.tenure.seat(GROUP)?.role, proofs.mock.calls]).toEqual(['standby', []]);
    await order(new AbortController().signal);
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('active');
  });

  it('does not end in the role when the seat was fenced while it waited', async () => {
    const ref = await replicated();
    await seat(b, MemberRole.STANDBY, OF_B);
    const meanwhile = () => b.site.journal.tenure.setSeat(GROUP, 'b-1', 'fenced');
    expect(await refusalAfter(b, { order: () => sites.promote(b, ref, OF_B), meanwhile })).toBe('ROLE_REFUSED');
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('fenced');
  });
});

describe('an order that waits for its turn while a higher epoch arrives is not carried out:', () => {
  const raise = () => b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });

  it.each<[string, (ref: Ref) => Promise<unknown>]>([
    ['apply', (ref) => sites.apply(b, ref)],
    ['verify', (ref) => sites.verify(b, ref)],
  ])('%s', async (_name, order) => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    expect(await refusalAfter(b, { order: () => order(ref), meanwhile: raise })).toBe('EPOCH_STALE');
    expect([
      b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied'),
      b.site.journal.tenure.seat(GROUP)?.role,
    ]).toEqual([undefined, 'standby']);
  });

  it('drill', async () => {
    const ref = await sites.captured();
    const gate = Promise.withResolvers<void>();
    const busy = b.site.partitions.bySerial('b-2').use(() => gate.promise);
    const waiting = rejection(sites.drill(b, ref));
    while (!b.site.store.has(ref.digest)) await new Promise((resolve) => setImmediate(resolve));
    raise();
    gate.resolve();
    await busy;
    expect([(await waiting).code, b.site.journal.drills.open('b-2')]).toEqual(['EPOCH_STALE', undefined]);
  });
});

describe('the HSM refuses what its agent let through. A higher epoch is persisted between check and change:', () => {
  /** An agent whose every check passes, and to which a higher epoch comes while an order reads the token. */
  function careless(site: SimulatedSite, serial: string): void {
    const { authority, fences, journal } = site.site;
    const seat = () => journal.tenure.seat(GROUP)!;
    Object.assign(authority, {
      inForce: () => {},
      asSite: () => {},
      asMember: seat,
      asStandby: seat,
      asKeyMaker: seat,
    });
    Object.assign(fences, { check: () => {}, checkPeer: () => {} });
    const { provider } = (serial === `${site.name}-1` ? site.member : site.scratch)!;
    for (const read of ['look', 'inventory', 'read', 'prove', 'deriveExchangeKey'] as const) {
      const before = provider[read].bind(provider) as (...given: unknown[]) => Promise<unknown>;
      Object.assign(provider, {
        [read]: (...given: unknown[]) => {
          // Not by an order, so that nothing else ends the one that works.
          journal.tenure.raise(GROUP, { epoch: 2n, owner: 'b' });
          return before(...given);
        },
      });
    }
  }

  /** The codes of an order, whether it throws or answers with them. */
  const codesOf = async (order: Promise<unknown>): Promise<string[]> =>
    order.then(
      (answer) => ((answer as { failures?: { code: string }[] }).failures ?? []).map(({ code }) => code),
      (refused: { code: string }) => [refused.code],
    );

  it.each<[string, 'b-1' | 'b-2', (ref: Ref) => Promise<unknown>]>([
    ['apply', 'b-1', (ref) => sites.apply(b, ref)],
    ['drill', 'b-2', (ref) => sites.drill(b, ref)],
    [
      'the exchange of a domain key',
      'b-1',
      () => {
        const members = [{ site: { site: 'b', address: 'b:1' }, serial: 'b-1' }];
        return a.call('distributeDomainKey', { fence: fence(), version: 2, members });
      },
    ],
  ])('%s', async (_name, serial, order) => {
    const ref = await sites.captured();
    const { hsm } = serial === 'b-1' ? b.member : b.scratch;
    const before = hsm.contents();
    careless(b, serial);
    expect(await codesOf(order(ref))).toEqual(['EPOCH_STALE']);
    expect(hsm.contents()).toEqual(before);
  });

  it('a deletion at a standby', async () => {
    const doomed = a.member.hsm.addSecret('doomed');
    await replicated();
    a.member.hsm.remove(doomed);
    const ref = await sites.captured();
    await sites.apply(b, ref);
    const before = b.member.hsm.contents();
    careless(b, 'b-1');
    expect(await codesOf(sites.verify(b, ref))).toEqual(['EPOCH_STALE']);
    expect(b.member.hsm.contents()).toEqual(before);
  });
});

describe('a late order', () => {
  const next = async (): Promise<Ref & { digest: string }> => {
    a.member.hsm.addSecret(`another ${a.member.hsm.objects.length}`);
    return sites.captured();
  };

  it('does not verify what is not staged any more', async () => {
    const [older, newer] = [await sites.captured(), await next()];
    await sites.apply(b, older);
    await sites.apply(b, newer);
    expect((await rejection(sites.verify(b, older))).code).toBe('GENERATION_UNKNOWN');
    await sites.verify(b, newer);
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(newer.digest);
  });

  it('does not put an older generation in the place of one that is staged and not read back yet', async () => {
    const [older, newer] = [await sites.captured(), await next()];
    await sites.apply(b, newer);
    expect((await rejection(sites.apply(b, older))).code).toBe('GENERATION_NOT_NEWER');
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'staged')).toBe(newer.digest);
  });

  it('verifies nothing at a member that has become active, and nothing when the epoch ends while the token reads', async () => {
    const older = await replicated();
    const newer = await next();
    await sites.apply(b, newer);
    await failOver(b, OF_B, older);
    expect((await rejection(sites.verify(b, newer, OF_B))).code).toBe('ROLE_REFUSED');
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(older.digest);
  });

  it('does not count as applied what was read back under a tenure that ended meanwhile', async () => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    const prove = b.member.provider.prove.bind(b.member.provider);
    b.member.provider.prove = (...given) => {
      b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
      return prove(...given);
    };
    expect((await rejection(sites.verify(b, ref))).code).toBe('EPOCH_STALE');
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBeUndefined();
  });
});
