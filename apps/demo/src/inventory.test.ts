import { describe, expect, it } from 'vitest';
import { inventory, lostObjects, parseObjects, type TokenObject, without } from './inventory.ts';

const LIST = `Secret Key Object; Generic secret length 32
  label:      audit mac
  ID:         04
  Usage:      encrypt, decrypt, verify, wrap, unwrap
Public Key Object; EC  EC_POINT 256 bits
  EC_POINT:   0441045722e6
  EC_PARAMS:  06082a8648ce3d030107
  label:      root: of trust
  ID:         02
Private Key Object; RSA 
  label:      made to stay
  ID:         06
  Access:     sensitive, always sensitive, never extractable, local
Certificate Object; type = X.509 cert
  label:      demo certificate
  subject:    DN: CN=demo
  ID:         05
Data object 3
  label:          'note'
  application:    ''
`;

it('the list of pkcs11-tool is read object by object', () => {
  expect(parseObjects(LIST)).toEqual([
    { kind: 'secret-key/generic-secret', id: '04', label: 'audit mac' },
    { kind: 'public-key/ec', id: '02', label: 'root: of trust' },
    { kind: 'private-key/rsa', id: '06', label: 'made to stay' },
    { kind: 'certificate', id: '05', label: 'demo certificate' },
    { kind: 'data', id: '', label: 'note' },
  ]);
  expect(parseObjects('')).toEqual([]);
});

it('public objects are known by what they hold, secret ones are not read', () => {
  const read: string[] = [];
  const tool = (...args: string[]): Buffer => {
    if (args[0] === '--list-objects') return Buffer.from(LIST);
    read.push(args.slice(1).join(' '));
    return Buffer.from(args.join());
  };
  const hashes = inventory(tool).map(({ contentSha256 }) => contentSha256.length);
  expect(hashes).toEqual([0, 64, 0, 64, 0]);
  expect(read).toEqual(['--type pubkey --id 02', '--type cert --id 05']);
});

describe('what is lost', () => {
  const object = (kind: string, id: string, contentSha256 = ''): TokenObject => ({
    kind,
    id,
    label: id,
    contentSha256,
  });
  const made = [object('secret-key/aes', '03'), object('private-key/rsa', '01'), object('private-key/rsa', '06')];
  const lost = (found: readonly TokenObject[], uncapturedKinds: readonly string[] = []): string[] =>
    lostObjects({ made, found, uncapturedKinds }).map(({ id }) => id);

  it('is nothing where all is found, whatever else is there', () => {
    expect(lost([...made, object('secret-key/aes', '0b')])).toEqual([]);
  });

  it('is every object that is missing', () => {
    expect(lost([])).toEqual(['03', '01', '06']);
    expect(lost(made.slice(1))).toEqual(['03']);
  });

  it('is not what was reported as not captured, one for each report', () => {
    expect(lost(made.slice(0, 2), ['private-key/rsa'])).toEqual([]);
    expect(lost(made.slice(0, 1), ['private-key/rsa'])).toHaveLength(1);
    expect(lost(made.slice(1), ['private-key/rsa'])).toEqual(['03']);
  });

  it('is also an object of the same name that holds something else, and one of two alike', () => {
    expect(without([object('certificate', '05', 'aa')], [object('certificate', '05', 'bb')])).toHaveLength(1);
    expect(without([object('data', '1'), object('data', '1')], [object('data', '1')])).toHaveLength(1);
  });
});
