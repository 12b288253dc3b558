import { hex, runToEnd, seededPrng } from '@antipode/runtime';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManifestSchema } from '../../gen/antipode/seal/v1/manifest_pb.ts';
import { arbitraryGeneration, sorted } from '../../testing/arbitrary-generation.ts';
import { readBySchema, writtenBySchema } from '../../testing/manifest-by-schema.ts';
import { contentDigestOf, digestOf, entryDigest, type Generation } from '../generation.ts';
import { NotCanonical } from './canonical-protobuf.ts';
import { EncodedEntry } from './encoded-entry.ts';
import { type ReadManifest, readingManifest } from './manifest-reader.ts';
import { encodeManifest, writingManifest } from './manifest-writer.ts';

const GENERATION = arbitraryGeneration({ group: 'payments', identitySha256: 'ab'.repeat(32) });

const read = (bytes: Uint8Array): ReadManifest => runToEnd(readingManifest(bytes));

function accepted(bytes: Uint8Array): Generation | undefined {
  try {
    return read(bytes).generation;
  } catch (thrown) {
    if (thrown instanceof NotCanonical) return undefined;
    throw thrown;
  }
}

/** As plain objects. */
const plain = ({ entries, tombstones, ...rest }: Generation): Generation => ({
  ...rest,
  entries: entries.map((entry) => ({ ...entry })),
  tombstones: tombstones.map(({ entry, ...others }) => ({ entry: { ...entry }, ...others })),
});

describe('a manifest', () => {
  it('is written and read in more slices if it has large certificates', () => {
    const generationOf = (bytes: number): Generation => {
      const [given] = fc.sample(GENERATION, { numRuns: 1 }) as [Generation];
      const entries = ['0a', '0b', '0c'].map((start) => ({
        objectId: start.repeat(16),
        objectClass: 'certificate' as const,
        sizeBits: 0,
        attributes: { value: new Uint8Array(bytes) },
        blobSize: 0,
      }));
      return { ...given, entries, tombstones: [], uncaptured: [], dataKeys: [] };
    };
    const slicesOf = (generation: Generation): number[] => {
      const writing = [...writingManifest(generation)].length;
      return [writing, [...readingManifest(encodeManifest(generation))].length];
    };
    expect([slicesOf(generationOf(1_000)), slicesOf(generationOf(2 * 1024 * 1024))]).toEqual([
      [0, 0],
      [3, 3],
    ]);
  });

  it('is written as the schema says, even from entries of another manifest', () => {
    fc.assert(
      fc.property(GENERATION, (given) => {
        const expected = hex(writtenBySchema(given));
        const bytes = encodeManifest(given);
        expect(hex(bytes)).toBe(expected);
        expect(hex(encodeManifest(read(bytes).generation))).toBe(expected);
        expect(hex(encodeManifest(plain(read(bytes).generation)))).toBe(expected);
      }),
    );
  });

  it('is read as the schema says, with the digests that plain entries have', () => {
    fc.assert(
      fc.property(GENERATION, (given) => {
        const { generation, contentDigest } = read(encodeManifest(given));
        expect(plain(generation)).toEqual(sorted(given));
        expect(generation).toEqual(readBySchema(encodeManifest(given)));
        expect(contentDigest).toBe(contentDigestOf(given));
        for (const entry of [...generation.entries, ...generation.tombstones.map((one) => one.entry)])
          expect(hex(entryDigest(entry))).toBe(hex(digestOf({ ...entry })));
      }),
    );
  });

  it('makes way while it is written and read', () => {
    const [one] = fc.sample(GENERATION, { numRuns: 1 }) as [Generation];
    const entry = {
      objectClass: 'secret-key',
      keyType: 'aes',
      sizeBits: 256,
      attributes: {},
      blobSha256: '22'.repeat(32),
      blobSize: 40,
    } as const;
    const entries = Array.from({ length: 2_000 }, (_, index) => ({
      objectId: index.toString(16).padStart(32, '0'),
      ...entry,
    }));
    const turnsOf = (work: Generator<void, unknown>): number => [...work].length;
    const large = { ...one, entries };
    expect(turnsOf(writingManifest(large))).toBeGreaterThanOrEqual(4);
    expect(turnsOf(readingManifest(encodeManifest(large)))).toBeGreaterThanOrEqual(4);
  });
});

describe('an entry that lies in its manifest', () => {
  const { generation } = read(
    encodeManifest(
      fc.sample(
        GENERATION.filter(({ entries }) => entries.length > 2),
        { numRuns: 1 },
      )[0]!,
    ),
  );

  it('copies into a plain one, which is encoded and digested again', () => {
    for (const entry of generation.entries) {
      const copy = { ...entry, attributes: { ...entry.attributes, label: Uint8Array.of(1, 2, 3) } };
      expect([EncodedEntry.encodingOf(entry) === undefined, EncodedEntry.encodingOf(copy)]).toEqual([false, undefined]);
      expect(hex(entryDigest(copy))).not.toBe(hex(entryDigest(entry)));
      const again = read(encodeManifest({ ...generation, entries: [copy] })).generation.entries[0];
      expect(again).toEqual(copy);
    }
  });

  it('gives copies of its bytes: nobody can change the manifest through them', () => {
    const before = hex(encodeManifest(generation));
    for (const { publicHalf, valueTag, vectors = [], attributes } of generation.entries)
      for (const value of [publicHalf, valueTag, ...vectors.map(({ result }) => result), ...Object.values(attributes)])
        if (value instanceof Uint8Array) value.fill(0xff);
    expect(hex(encodeManifest(generation))).toBe(before);
  });
});

// --- bytes other than the one encoding of a manifest ---

/** A field on the wire: its number, its type, and its value as a varint, bytes, or the fields of a message. */
interface Field {
  readonly tag: Uint8Array;
  readonly value: Uint8Array | Field[];
}

const varint = (value: number): Uint8Array => {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
};

/** Which fields are messages, by the path to them. */
const MESSAGES = new Set([
  ...['9', '10', '11', '11.5', '11.12', '11.14', '12'],
  ...['13', '13.1', '13.1.5', '13.1.12', '13.1.14', '13.8'],
]);

function fieldsOf(bytes: Uint8Array, path = ''): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes.subarray(at, at + 1);
    const number = tag[0]! >> 3;
    at += 1;
    const start = at;
    while (bytes[at]! >= 0x80) at += 1;
    at += 1;
    if ((tag[0]! & 7) === 0) {
      fields.push({ tag, value: bytes.subarray(start, at) });
      continue;
    }
    const length = bytes.subarray(start, at).reduceRight((sum, byte) => sum * 128 + (byte & 0x7f), 0);
    const content = bytes.subarray(at, at + length);
    at += length;
    const inner = path === '' ? String(number) : `${path}.${number}`;
    fields.push({ tag, value: MESSAGES.has(inner) ? fieldsOf(content, inner) : content });
  }
  return fields;
}

function bytesOf(fields: readonly Field[]): Uint8Array {
  return Buffer.concat(
    fields.flatMap(({ tag, value }) => {
      if (!Array.isArray(value)) return (tag[0]! & 7) === 0 ? [tag, value] : [tag, varint(value.length), value];
      const content = bytesOf(value);
      return [tag, varint(content.length), content];
    }),
  );
}

/** Every list of fields, the inner ones too. */
const listsIn = (fields: Field[]): Field[][] => [
  fields,
  ...fields.flatMap(({ value }) => (Array.isArray(value) ? listsIn(value) : [])),
];

const CHANGES: Record<string, (list: Field[], at: number, chance: number) => void> = {
  'a field is gone': (list, at) => list.splice(at, 1),
  'a field is there twice': (list, at) => list.splice(at, 0, list[at]!),
  'two fields have changed places': (list, at) => list.splice(at, 2, ...list.slice(at, at + 2).reverse()),
  'a field is there that nobody knows': (list, at, chance) =>
    list.splice(at, 0, { tag: Uint8Array.of(0x70 | ((chance % 2) * 8)), value: Uint8Array.of(1) }),
  'a field has another number': (list, at, chance) => {
    list[at] = { ...list[at]!, tag: Uint8Array.of(((chance % 15) + 1) * 8 + (list[at]!.tag[0]! & 7)) };
  },
  'a field has another wire type': (list, at, chance) => {
    list[at] = { ...list[at]!, tag: Uint8Array.of((list[at]!.tag[0]! & ~7) | (chance % 6)) };
  },
  'a tag is longer than it needs to be': (list, at) => {
    list[at] = { ...list[at]!, tag: Uint8Array.of(list[at]!.tag[0]! | 0x80, 0) };
  },
  'a value is empty or zero': (list, at) => {
    const isVarint = (list[at]!.tag[0]! & 7) === 0;
    list[at] = { ...list[at]!, value: isVarint ? Uint8Array.of(0) : new Uint8Array() };
  },
  'a number is longer than necessary': (list, at) => {
    const { tag, value } = list[at]!;
    if ((tag[0]! & 7) !== 0 || Array.isArray(value)) return;
    list[at] = { tag, value: Uint8Array.from([...value.slice(0, -1), value.at(-1)! | 0x80, 0]) };
  },
  'a number is huge': (list, at, chance) => {
    const { tag, value } = list[at]!;
    if ((tag[0]! & 7) !== 0 || Array.isArray(value)) return;
    list[at] = { tag, value: Uint8Array.from([...new Array(7 + (chance % 4)).fill(0xff), 1 + (chance % 3)]) };
  },
  'a value has other bytes': (list, at, chance) => {
    const { tag, value } = list[at]!;
    if (Array.isArray(value) || value.length === 0) return;
    const bytes = Uint8Array.from(value);
    bytes[chance % bytes.length]! ^= 1 << (chance % 7);
    list[at] = { tag, value: bytes };
  },
  'a value is shorter': (list, at) => {
    const { tag, value } = list[at]!;
    if (!Array.isArray(value) && (tag[0]! & 7) === 2) list[at] = { tag, value: value.subarray(1) };
  },
};

/** The messages that the schema's own code accepts, without numbers that a double does not hold. */
function isAcceptedBySchema(bytes: Uint8Array): boolean {
  const generation = readBySchema(bytes);
  if (generation === undefined) return false;
  const { captureStartedMs, dataKeys, entries, tombstones } = generation;
  const numbers = [
    captureStartedMs,
    ...[...dataKeys, ...entries, ...tombstones.map(({ entry }) => entry)].map(({ blobSize }) => blobSize),
    ...tombstones.flatMap(({ deletedMs, retentionMs = 0, dataKey }) => [
      deletedMs,
      retentionMs,
      dataKey?.blobSize ?? 0,
    ]),
  ];
  return numbers.every(Number.isSafeInteger);
}

describe('bytes other than the one encoding are refused exactly as by the schema:', () => {
  const verdicts = { accepted: 0, refused: 0 };
  const judge = (bytes: Uint8Array): void => {
    const generation = accepted(bytes);
    expect(generation !== undefined, hex(bytes)).toBe(isAcceptedBySchema(bytes));
    if (generation !== undefined) expect(hex(encodeManifest(generation))).toBe(hex(bytes));
    verdicts[generation === undefined ? 'refused' : 'accepted'] += 1;
  };

  it('its unchanged form is read and written without a difference', () => {
    fc.assert(
      fc.property(GENERATION, (given) => {
        const bytes = encodeManifest(given);
        expect(hex(bytesOf(fieldsOf(bytes)))).toBe(hex(bytes));
      }),
      { numRuns: 20 },
    );
  });

  it.each(Object.keys(CHANGES))('%s', (name) => {
    fc.assert(
      fc.property(GENERATION, fc.nat(), fc.nat(), fc.nat(), (given, which, where, chance) => {
        const fields = fieldsOf(encodeManifest(given));
        const lists = listsIn(fields).filter((list) => list.length > 0);
        const list = lists[which % lists.length]!;
        CHANGES[name]!(list, where % list.length, chance);
        judge(bytesOf(fields));
      }),
    );
  });

  it('a byte is another', () => {
    fc.assert(
      fc.property(GENERATION, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, where, difference) => {
        const bytes = encodeManifest(given);
        bytes[where % bytes.length]! ^= difference;
        judge(bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('it is cut off', () => {
    fc.assert(
      fc.property(GENERATION, fc.nat(), (given, length) => {
        const bytes = encodeManifest(given);
        judge(bytes.subarray(0, length % bytes.length));
      }),
    );
  });

  it('it is arbitrary', () => {
    const prng = seededPrng('noise');
    for (let length = 0; length < 300; length += 1) judge(prng.bytes(length));
  });

  it('both verdicts were given', () => {
    expect(verdicts.accepted).toBeGreaterThan(50);
    expect(verdicts.refused).toBeGreaterThan(500);
  });
});

it('a number that a double does not hold exactly is refused', () => {
  const message = fromBinary(ManifestSchema, encodeManifest(fc.sample(GENERATION, { numRuns: 1 })[0]!));
  const bytesWith = (captureStartedMs: bigint): Uint8Array =>
    toBinary(ManifestSchema, create(ManifestSchema, { ...message, captureStartedMs }));
  expect(accepted(bytesWith(2n ** 53n - 1n))?.captureStartedMs).toBe(Number.MAX_SAFE_INTEGER);
  expect([accepted(bytesWith(2n ** 53n)), accepted(bytesWith(2n ** 64n - 1n))]).toEqual([undefined, undefined]);
});
