import { fromHex } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import { captureOutcome } from './capture/outcome.ts';
import { domainKeyOutcome } from './domain-key/outcome.ts';
import { drillOutcome } from './drill/outcome.ts';
import { failoverOutcome } from './failover/outcome.ts';
import { keyRetirementOutcome } from './key-retirement/outcome.ts';
import { replicationOutcome } from './replication/outcome.ts';
import { reseatOutcome } from './reseat/outcome.ts';
import { scrubOutcome } from './scrub/outcome.ts';

const DIGEST = 'ab'.repeat(32);
const BYTES = fromHex(DIGEST);
const target = { epoch: 2n, number: 9n } as const;
const named = { epoch: 2n, generation: 9n };
const proof = { proved: 3, failed: 1, failedObjectIds: ['01'], usesNotExercised: 0 };

describe('what an operation found', () => {
  it('of a capture, is the generation and whether it is a new one', () => {
    expect(captureOutcome({ phase: 'capturing' })).toBeUndefined();
    expect(
      captureOutcome({ phase: 'captured', ...target, manifestDigest: DIGEST, isNew: false, sealedObjects: 0 }),
    ).toMatchObject({ case: 'capture', value: { generation: { ...named, manifestDigest: BYTES }, isNew: false } });
  });

  it('of a replication, is what was restored and proved so far', () => {
    const due = replicationOutcome({ phase: 'due', ...target, contentDigest: DIGEST });
    expect(due).toMatchObject({ case: 'replication', value: { generation: { ...named, contentDigest: BYTES } } });
    expect(due.value).not.toHaveProperty('appliedObjects');
    const done = {
      phase: 'acknowledged',
      appliedObjects: 4,
      pulledBlobs: 2,
      proved: 4,
      contentDigest: DIGEST,
    } as const;
    expect(replicationOutcome({ ...done, ...target })).toMatchObject({
      value: { appliedObjects: 4, pulledBlobs: 2, provedObjects: 4 },
    });
  });

  it('of a drill, is what was proved and how long it took', () => {
    expect(drillOutcome({ phase: 'failed', code: 'DRILL_UNCLEAN', serial: 's', ...target }).value).toEqual({
      generation: expect.objectContaining(named),
      serial: 's',
    });
    expect(drillOutcome({ phase: 'passed', proved: 3, recoveryTimeMs: 1_200, serial: 's', ...target })).toMatchObject({
      case: 'drill',
      value: { provedObjects: 3, recoveryTimeMs: 1_200n },
    });
  });

  it('of a scrub, is what is missing and altered, whether it passed or not', () => {
    const outcome = { startedMs: 0, isReplica: true, ...target, proof, missing: 1, altered: 2, mendedBlobs: 3 };
    expect(scrubOutcome({ phase: 'failed', code: 'SITE_UNREACHABLE', outcome: undefined })).toBeUndefined();
    expect(scrubOutcome({ phase: 'failed', code: 'OBJECT_UNPROVEN', outcome })).toMatchObject({
      case: 'scrub',
      value: { isReplica: true, proof, missingObjects: 1, alteredObjects: 2, mendedBlobs: 3 },
    });
  });

  it('of a failover, is the new tenure, what is lost and which sites could not serve', () => {
    const request = {
      from: 'a',
      wanted: '',
      acceptLoss: true,
      accepted: [],
      reason: 'operator',
      outageStartedMs: 0,
      excluded: [{ site: 'c', code: 'PIN_REFUSED' }],
      overtaken: 1,
    } as const;
    const lost = [{ ...target, manifestDigest: DIGEST }];
    const chosen = { to: 'b', serial: 's', epoch: 3n, generation: undefined, lost, quorum: 2 };
    const requested = failoverOutcome({ phase: 'requested', ...request });
    expect(requested).toMatchObject({ case: 'failover', value: { fromSite: 'a', overtaken: 1, reason: 'operator' } });
    expect(requested.value).not.toHaveProperty('toSite');
    // Planned, and perhaps cancelled here: nobody is promoted, and nothing is lost.
    for (const phase of ['catching-up', 'issuing'] as const) {
      const planned = failoverOutcome({ phase, ...request, ...chosen, unreachable: [] });
      expect(planned.value).not.toHaveProperty('toSite');
      expect(planned.value).not.toHaveProperty('epoch');
      expect(planned.value).not.toHaveProperty('lost');
    }
    expect(
      failoverOutcome({ phase: 'complete', ...request, ...chosen, proved: 7, recoveryTimeMs: 1_499.6 }).value,
    ).toMatchObject({
      toSite: 'b',
      epoch: 3n,
      lost: [{ ...named, manifestDigest: BYTES }],
      provedObjects: 7,
      recoveryTimeMs: 1_500n,
      passedOver: [{ site: 'c', errorCode: 'PIN_REFUSED' }],
    });
  });

  it('of a failover, is what the operator gave up, and what the target could not fetch from whom', () => {
    const newest = { ...target, manifestDigest: DIGEST };
    const state = {
      phase: 'aborted',
      code: 'FAILOVER_REFUSED',
      message: 'not fetched',
      from: 'a',
      wanted: '',
      acceptLoss: true,
      accepted: [{ epoch: 2n, number: 8n, manifestDigest: DIGEST }],
      reason: 'operator',
      outageStartedMs: 0,
      excluded: [],
      overtaken: 0,
    } as const;
    const { value } = failoverOutcome({ ...state, unfetched: { newest, holders: ['c', 'd'] } });
    expect(value).toMatchObject({
      accepted: [{ epoch: 2n, generation: 8n, manifestDigest: BYTES }],
      unfetched: { ...named, manifestDigest: BYTES },
      unfetchedFrom: ['c', 'd'],
    });
    expect(failoverOutcome(state).value).not.toHaveProperty('unfetched');
  });

  it('of a failover that an earlier release has recorded, is what is known of it', () => {
    const state = {
      phase: 'complete',
      from: 'a',
      to: 'b',
      epoch: 2n,
      proved: 1,
      recoveryTimeMs: 5,
      reason: 'operator',
    };
    expect(failoverOutcome(state as never).value).toMatchObject({
      toSite: 'b',
      lost: [],
      passedOver: [],
      overtaken: 0,
      accepted: [],
    });
    expect(failoverOutcome({ ...state, lost: [target] } as never).value).toMatchObject({ lost: [named] });
  });

  it('of a group that is seated again, is who has a seat and who was left aside', () => {
    expect(reseatOutcome({ phase: 'reseating', active: '' })).toBeUndefined();
    const outcome = { epoch: 4n, activeSite: 'b', seated: ['b'], leftAside: [{ site: 'a', code: 'SITE_UNREACHABLE' }] };
    expect(reseatOutcome({ phase: 'reseated', active: '', ...outcome })).toEqual({
      case: 'reseat',
      value: {
        epoch: 4n,
        activeSite: 'b',
        seatedSites: ['b'],
        leftAside: [{ site: 'a', errorCode: 'SITE_UNREACHABLE' }],
      },
    });
  });

  it('of a domain key, is which sites have it and which partitions do not', () => {
    const failures = [{ serial: 's', code: 'PEER_NOT_PINNED', message: 'no' }];
    expect(domainKeyOutcome({ phase: 'seating' })).toBeUndefined();
    expect(domainKeyOutcome({ phase: 'incomplete', failures })?.value).toEqual({
      version: 0,
      sites: [],
      failures: [{ serial: 's', errorCode: 'PEER_NOT_PINNED', message: 'no' }],
    });
    expect(domainKeyOutcome({ phase: 'complete', version: 2, sites: ['a', 'b'] })).toEqual({
      case: 'domainKey',
      value: { version: 2, sites: ['a', 'b'], failures: [] },
    });
  });

  it('of domain keys that were destroyed, is which versions and where', () => {
    expect(keyRetirementOutcome({ phase: 'retiring' })).toBeUndefined();
    expect(keyRetirementOutcome({ phase: 'retired', destroyed: [{ serial: 's', versions: [1, 2] }] })).toEqual({
      case: 'keyRetirement',
      value: { destroyed: [{ serial: 's', versions: [1, 2] }] },
    });
  });
});
