/** Drills: in declared scratch partitions only, proved, cleaned, with signed evidence. */
import { createPublicKey, verify } from 'node:crypto';
import { AntipodeError, hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { GROUP, TwoSites } from '../testing/two-sites.ts';
import { endStrayDrills } from './drill.ts';

let sites: TwoSites;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  b = sites.b;
});

afterEach(() => sites.close());

describe('a drill', () => {
  it('proves every key in the scratch partition with evidence that its identity signed, and empties it', async () => {
    const ref = await sites.captured();
    const before = b.member.hsm.contents();
    const { proof, isClean, evidence, signature, signer } = await sites.drill(b, ref);
    expect([proof, isClean]).toMatchObject([{ proved: 2, failed: 0 }, true]);
    expect([b.scratch.hsm.contents(), b.member.hsm.contents()]).toEqual([[], before]);
    expect(JSON.parse(evidence!)).toMatchObject({
      drillId: 'd1',
      group: GROUP,
      manifestDigest: ref.digest,
      contentDigestMatches: true,
      objects: { expected: 2, proved: 2, failed: 0 },
      scratch: { serial: 'b-2', identity: b.scratch.keyring.identity.sha256, clean: true },
    });
    expect(hex(signer!)).toBe(hex(b.scratch.keyring.identity.publicHalf));
    const key = createPublicKey({ key: Buffer.from(signer!), format: 'der', type: 'spki' });
    const signed = Buffer.from(`antipode evidence v1\0${evidence}`);
    expect(verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature!)).toBe(true);
  });

  it('names in its evidence which uses of which objects nothing could try', async () => {
    const ref = await sites.captured();
    const { provider } = b.scratch;
    const { prove } = provider;
    provider.prove = async (key, items) => {
      const outcomes = await prove.call(provider, key, items);
      const untried = { use: 'derive', outcome: 'not-exercised', detail: 'no way to try it' } as const;
      return outcomes.map((outcome, index) =>
        items[index]!.objectClass === 'secret-key' ? { ...outcome, checks: [...outcome.checks, untried] } : outcome,
      );
    };
    const { evidence } = await sites.drill(b, ref);
    const { entries } = (await sites.a.site.store.open(ref.digest)).generation;
    const secrets = entries.filter(({ objectClass }) => objectClass === 'secret-key');
    const { objects } = JSON.parse(evidence!);
    expect(secrets.length).toBeGreaterThan(0);
    expect(objects).toMatchObject({ usesNotExercised: secrets.length });
    expect(objects.notExercised).toEqual(secrets.map(({ objectId }) => ({ objectId, uses: ['derive'] })));
  });

  it('that was cut short ends with the agent where its partition is not scratch any more', () => {
    const { journal, log } = b.site;
    const role = { scratch: 'scratch', member: 'member' } as const;
    for (const name of Object.keys(role)) {
      const record = { serial: `serial of ${name}`, ckaId: new Uint8Array(1), publicHalf: new Uint8Array(1) };
      journal.identities.add(name, record);
      journal.drills.begin(record.serial, 'd1');
    }
    const settings = Object.entries(role).map(([name, role]) => ({ name, role }));
    endStrayDrills({ settings: [...settings, { name: 'never initialised', role: 'member' }], journal, log });
    expect([journal.drills.open('serial of scratch'), journal.drills.open('serial of member')]).toEqual([
      'd1',
      undefined,
    ]);
  });

  it.each(['b-1', 'b-9', ''])('opens no partition that is not declared as scratch: %j', async (serial) => {
    const ref = await sites.captured();
    expect(await rejection(sites.drill(b, ref, serial))).toMatchObject({
      code: 'SCRATCH_REFUSED',
      details: { serial },
    });
    expect(b.site.journal.drills.open(serial)).toBeUndefined();
  });

  it('touches nothing in a scratch partition that somebody else uses, however often it is ordered', async () => {
    const ref = await sites.captured();
    b.scratch.hsm.addSecret('not ours');
    for (const _ of ['first', 'second', 'third']) {
      expect((await rejection(sites.drill(b, ref))).code).toBe('SCRATCH_REFUSED');
      expect([b.scratch.hsm.contents().length, b.site.journal.drills.open('b-2')]).toEqual([1, undefined]);
    }
  });

  it('leaves to somebody else what he put there after it was cut short and cleaned up', async () => {
    const ref = await sites.captured();
    const prove = b.scratch.provider.prove;
    b.scratch.provider.prove = async () => {
      throw new AntipodeError('HSM_REFUSED', 'not now');
    };
    expect((await rejection(sites.drill(b, ref))).code).toBe('HSM_REFUSED');
    b.scratch.provider.prove = prove;
    expect(b.scratch.hsm.contents()).toEqual([]);
    b.scratch.hsm.addSecret('not ours');
    expect((await rejection(sites.drill(b, ref))).code).toBe('SCRATCH_REFUSED');
    expect(b.scratch.hsm.contents()).toHaveLength(1);
  });

  it('claims nothing that somebody put there between its look and its first write', async () => {
    const ref = await sites.captured();
    const begin = b.site.journal.drills.begin.bind(b.site.journal.drills);
    b.site.journal.drills.begin = (...given) => {
      begin(...given);
      b.scratch.hsm.addSecret('not ours');
    };
    expect((await rejection(sites.drill(b, ref))).code).toBe('SCRATCH_REFUSED');
    b.site.journal.drills.begin = begin;
    expect([b.scratch.hsm.contents().length, b.site.journal.drills.open('b-2')]).toEqual([1, undefined]);
  });

  it('goes on beside what anybody can put there without a PIN, says so, and never destroys it, not after a crash either', async () => {
    const ref = await sites.captured();
    b.scratch.hsm.addCertificate('anybody');
    b.scratch.hsm.addData('anybody', Buffer.from('value'), { private: false });
    b.scratch.hsm.addData('anybody', Buffer.from('other value'), { private: false });
    const before = b.scratch.hsm.contents();
    const { proof, isClean, evidence } = await sites.drill(b, ref);
    expect([proof?.failed, isClean, JSON.parse(evidence!).scratch.strangers]).toEqual([0, true, 3]);
    expect(b.scratch.hsm.contents()).toEqual(before);

    const end = b.site.journal.drills.end.bind(b.site.journal.drills);
    const destroy = b.scratch.provider.destroy;
    b.site.journal.drills.end = () => {};
    b.scratch.provider.destroy = async (handles) => [...handles];
    await sites.drill(b, ref);
    expect(b.scratch.hsm.contents().length).toBeGreaterThan(4);
    b.site.journal.drills.end = end;
    b.scratch.provider.destroy = destroy;
    // A new process of the worker computes other digests of the same objects.
    await b.scratch.reopen();
    const next = await sites.drill(b, ref);
    expect([next.proof?.failed, next.isClean, b.scratch.hsm.contents()]).toEqual([0, true, before]);
  });

  it('does not begin while what an earlier one left cannot be removed', async () => {
    const ref = await sites.captured();
    b.site.journal.drills.begin('b-2', 'earlier');
    b.scratch.hsm.addSecret('left');
    const destroy = b.scratch.provider.destroy;
    b.scratch.provider.destroy = async () => [];
    expect(await rejection(sites.drill(b, ref))).toMatchObject({
      code: 'DRILL_UNCLEAN',
      details: { drill: 'earlier' },
    });
    b.scratch.provider.destroy = destroy;
    expect(await sites.drill(b, ref)).toMatchObject({ isClean: true });
  });

  it('that was cut short is cleaned up by the next one', async () => {
    const ref = await sites.captured();
    const prove = b.scratch.provider.prove;
    b.scratch.provider.prove = async () => {
      await b.scratch.provider.close();
      throw new AntipodeError('HSM_WORKER_LOST', 'the worker ended');
    };
    expect((await rejection(sites.drill(b, ref))).code).toBe('HSM_WORKER_LOST');
    b.scratch.provider.prove = prove;
    expect(b.scratch.hsm.contents().length).toBeGreaterThan(0);
    await b.scratch.reopen();
    expect(await sites.drill(b, ref)).toMatchObject({ isClean: true, proof: { failed: 0 } });
    expect([b.scratch.hsm.contents(), b.site.journal.drills.open('b-2')]).toEqual([[], undefined]);
  });
});
