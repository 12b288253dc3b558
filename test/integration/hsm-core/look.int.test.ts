/** Looks at a real token: their first report, their later reports, and the time between them. */
import type { Handle } from '@antipode/hsm-core';
import { SCAN_GAP_MS } from '@antipode/hsm-core/testing';
import { hex, systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';

const [CLASS, TOKEN, PRIVATE, LABEL, APPLICATION, VALUE] = [0x000, 0x001, 0x002, 0x003, 0x010, 0x011];
const [KEY_TYPE, ID, SENSITIVE, START_DATE, END_DATE, EXTRACTABLE] = [0x100, 0x102, 0x103, 0x110, 0x111, 0x162];
const [DATA, SECRET_KEY, AES] = [0, 4, 0x1f];

let member: TestMember;

beforeAll(async () => {
  member = await TestMember.make('looks');
});

afterAll(() => member?.close());

const idOf = ({ attributes }: { attributes: { id?: Uint8Array } }): string => hex(attributes.id ?? new Uint8Array());

describe('a look', () => {
  it('tells what is new, changed or back since the look that is named, and names everything that is there', async () => {
    const { provider, token } = member;
    for (const id of ['01', '02']) token.makeAes(id);
    const first = await provider.look({});
    expect(first.objects).toHaveLength(first.handles.length);
    const quiet = await provider.look({ since: first.number });
    expect([quiet.handles, quiet.objects]).toEqual([first.handles, []]);

    token.makeAes('03');
    token.tool('--type', 'secrkey', '--id', '01', '--set-id', '04');
    token.tool('--delete-object', '--type', 'secrkey', '--id', '02');
    const next = await provider.look({ since: quiet.number });
    expect(next.objects.map(idOf).sort()).toEqual(['03', '04']);
    const handleOf = (id: string): Handle =>
      [...first.objects, ...next.objects].find((one) => idOf(one) === id)!.handle;
    expect([handleOf('02'), handleOf('03')].map((handle) => next.handles.includes(handle))).toEqual([false, true]);

    const some = await provider.look({ since: next.number, handles: [handleOf('02'), handleOf('03')] });
    expect([[...some.handles], some.objects]).toEqual([[handleOf('03')], []]);
    // Everybody gets an answer to the question that was asked, and whoever asks for everything gets everything.
    expect((await provider.look({ since: first.number })).objects.map(idOf).sort()).toEqual(['03', '04']);
    expect(await provider.inventory()).toHaveLength(next.handles.length);
  });

  it('begins 250 ms after the one before at the earliest, whatever it looks at', async () => {
    const { provider } = member;
    for (const options of [{}, { handles: [] }]) {
      await provider.look({ handles: [] });
      const startedMs = systemClock.monotonicMs();
      for (let count = 0; count < 3; count += 1) await provider.look(options);
      // There are two gaps between three looks, however late the answer to the look before them came.
      expect(systemClock.monotonicMs() - startedMs).toBeGreaterThan(1.9 * SCAN_GAP_MS);
    }
  });
});

it('gives every object its dates as the token tells them, however it answers for its neighbours', async () => {
  const dates = [
    [START_DATE, Buffer.from('20260101')],
    [END_DATE, Buffer.from('20270101')],
  ] as const;
  onToken(member.token, (cryptoki, session) => {
    const key = (id: number, isPrivate: boolean, given: readonly (readonly [number, Uint8Array])[]): void => {
      cryptoki.create(session, [
        [CLASS, SECRET_KEY],
        [KEY_TYPE, AES],
        [TOKEN, true],
        [PRIVATE, isPrivate],
        [SENSITIVE, true],
        [EXTRACTABLE, true],
        [LABEL, Buffer.from(`key ${id}`)],
        [ID, Buffer.of(id)],
        [VALUE, Buffer.alloc(32, id)],
        ...given,
      ]);
    };
    key(0x20, true, dates);
    key(0x21, false, dates);
    key(0x22, true, []);
    key(0x23, true, dates.slice(0, 1));
    key(0x24, false, dates.slice(1));
    cryptoki.create(session, [
      [CLASS, DATA],
      [TOKEN, true],
      [PRIVATE, true],
      [LABEL, Buffer.from('data')],
      [APPLICATION, Buffer.from('application')],
      [VALUE, Buffer.alloc(20_000, 7)],
    ]);
  });
  const first = await member.provider.look({});
  const made = first.objects.filter((object) => /^2[0-4]$/.test(idOf(object)));
  const seen = new Map(made.map((object) => [idOf(object), object.attributes]));
  const [startDate, endDate] = ['20260101', '20270101'];
  const datesOf = (id: string) => ({ startDate: seen.get(id)?.startDate, endDate: seen.get(id)?.endDate });
  expect(['20', '21', '22', '23', '24'].map(datesOf)).toEqual([
    { startDate: undefined, endDate: undefined },
    { startDate, endDate },
    { startDate: undefined, endDate: undefined },
    { startDate: undefined, endDate: undefined },
    { startDate: undefined, endDate },
  ]);
  for (const [id, { label, sensitive, extractable }] of seen)
    expect([Buffer.from(label!).toString(), sensitive, extractable]).toEqual([`key ${Number(`0x${id}`)}`, true, true]);
  // Every one of them is read the same again.
  expect((await member.provider.look({ since: first.number })).objects).toEqual([]);
});

it('believes no public half that a key was to be proved with, but failed', async () => {
  const { token } = member;
  for (const id of ['31', '32'])
    token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', id, '--usage-sign', '--extractable');
  await enrolTogether([member], { group: 'payments', version: 1 });
  const publicKeys = (await member.provider.inventory()).filter(({ objectClass }) => objectClass === 'public-key');
  const [ours, other] = ['31', '32'].map((id) => publicKeys.find((one) => idOf(one) === id)!.publicHalf!);
  // A session that has read none of them.
  await member.reopen();
  const domainKey = member.keyring.domainKey('payments', 1).handle;
  const handles = await member.provider.findUnder([Buffer.from('31', 'hex')]);
  const outcomes = await member.provider.prove(
    domainKey,
    handles.map((handle) => ({
      handle,
      objectClass: 'private-key',
      keyType: 'ec',
      sizeBits: 256,
      attributes: { sign: true },
      publicHalf: other!,
    })),
  );
  expect(outcomes.map(({ proved }) => proved)).toEqual([false]);
  const halves = (await member.provider.read(handles)).map((object) => object?.publicHalf);
  expect(halves).toEqual([ours]);
});
