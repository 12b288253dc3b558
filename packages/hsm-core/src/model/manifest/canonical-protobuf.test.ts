import { hex } from '@antipode/runtime';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CanonicalReader, CanonicalWriter, NotCanonical } from './canonical-protobuf.ts';

const written = (write: (writer: CanonicalWriter) => void): Uint8Array => {
  const writer = new CanonicalWriter(1);
  write(writer);
  return Uint8Array.from(writer.written);
};
const refused = (read: (reader: CanonicalReader) => void, ...bytes: number[]): void => {
  expect(() => read(new CanonicalReader(Uint8Array.from(bytes)))).toThrow(NotCanonical);
};

describe('what is written', () => {
  it('is what the library reads, and what the reader gives back', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.uint8Array({ maxLength: 300 }),
        fc.string({ unit: 'grapheme' }),
        (number, large, bytes, text) => {
          const encoded = written((writer) => {
            writer.number(1, number);
            writer.uint64(2, large);
            writer.bytes(3, bytes);
            writer.text(15, text);
          });
          const expected = new BinaryWriter();
          if (number > 0) expected.tag(1, 0).uint64(BigInt(number));
          if (large > 0n) expected.tag(2, 0).uint64(large);
          if (bytes.length > 0) expected.tag(3, 2).bytes(bytes);
          if (text.length > 0) expected.tag(15, 2).string(text);
          expect(hex(encoded)).toBe(hex(expected.finish()));
          const reader = new CanonicalReader(encoded);
          expect([reader.number(1), reader.uint64(2), hex(reader.copy(3)), reader.text(15)]).toEqual([
            number,
            large,
            hex(bytes),
            text,
          ]);
          expect(reader.position).toBe(encoded.length);
        },
      ),
    );
  });

  it('keeps an empty message, and no other default', () => {
    const encoded = written((writer) => {
      writer.number(1, 0);
      writer.uint64(2, 0n);
      writer.bytes(3, new Uint8Array());
      writer.text(4, '');
      writer.message(5, new Uint8Array());
    });
    expect(hex(encoded)).toBe('2a00');
    expect(new BinaryReader(encoded).tag()).toEqual([5, 2]);
  });

  it.each<[string, (writer: CanonicalWriter) => void]>([
    ['a fraction', (writer) => writer.number(1, 0.5)],
    ['a negative number', (writer) => writer.number(1, -1)],
    ['a number that a double does not hold', (writer) => writer.number(1, 2 ** 53)],
    ['more than 32 bits', (writer) => writer.uint32(1, 2 ** 32)],
    ['more than 64 bits', (writer) => writer.uint64(1, 2n ** 64n)],
    ['less than nothing', (writer) => writer.uint64(1, -1n)],
    ['a field number of two bytes', (writer) => writer.number(16, 1)],
  ])('is never %s', (_what, write) => {
    expect(() => written(write)).toThrow(RangeError);
  });
});

describe('what is read', () => {
  it.each<[string, (reader: CanonicalReader) => void, number[]]>([
    ['bytes that go on after the end', (reader) => reader.range(1, { start: 0, end: 0 }), [0x0a, 2, 1]],
    ['a message that goes on after the end', (reader) => reader.enter(1), [0x0a, 2, 1]],
    ['a length without an end', (reader) => reader.copy(1), [0x0a, 0x80]],
    ['a number without an end', (reader) => reader.number(1), [0x08, 0xff]],
    ['a large number without an end', (reader) => reader.uint64(1), [0x08, 0xff]],
    ['a zero', (reader) => reader.number(1), [0x08, 0]],
    ['a large zero', (reader) => reader.uint64(1), [0x08, 0]],
    ['no bytes', (reader) => reader.copy(1), [0x0a, 0]],
    ['a number with a needless byte', (reader) => reader.number(1), [0x08, 0x81, 0]],
    ['a large number with a needless byte', (reader) => reader.uint64(1), [0x08, 0x81, 0]],
    ['a text that is not UTF-8', (reader) => reader.text(1), [0x0a, 1, 0xff]],
    ['33 bits', (reader) => reader.uint32(1), [0x08, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ['54 bits', (reader) => reader.number(1), [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ['65 bits', (reader) => reader.uint64(1), [0x08, ...new Array(9).fill(0xff), 2]],
    ['11 bytes', (reader) => reader.uint64(1), [0x08, ...new Array(10).fill(0xff), 1]],
  ])('is never %s', (_what, read, bytes) => refused(read, ...bytes));

  it('is absent if the field has another number or type', () => {
    const reader = new CanonicalReader(Uint8Array.of(0x10, 5));
    expect([reader.number(1), reader.hex(2), reader.text(2), reader.uint64(3), reader.enter(2)]).toEqual([
      0,
      '',
      '',
      0n,
      undefined,
    ]);
    expect([reader.skip(2), reader.number(2)]).toEqual([false, 5]);
  });

  it('is a whole message: unread fields are refused', () => {
    const bytes = Uint8Array.of(0x0a, 4, 0x08, 1, 0x10, 2);
    const reader = new CanonicalReader(bytes);
    const outer = reader.enter(1)!;
    reader.number(1);
    expect(() => reader.leave(outer)).toThrow(NotCanonical);
    reader.number(2);
    reader.leave(outer);
    expect([reader.position, reader.end]).toEqual([6, 6]);
  });
});
