/** The module that lies on order: an application meets exactly the ordered lies, and nothing else changes. */
import { spawnSync } from 'node:child_process';
import { CKA, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openRawToken, type RawToken, refusalOf } from '../../attacks/support/raw-token.ts';
import { flags, label } from '../../attacks/support/templates.ts';
import { EXTRA_SLOT, FALSE, type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { makeAes, secretOf } from '../../support/token-pair.ts';
import { makeToken } from '../../support/tokens.ts';

let token: LyingToken;
let application: RawToken;

beforeAll(async () => {
  token = lying(makeToken('lying'));
  application = await openRawToken(token);
});
afterAll(async () => {
  await application.close();
  token.remove();
});
beforeEach(() => token.tell());

/** By OpenSC's tool, which asks every slot. */
const slotsOf = ({ config }: LyingToken): string => {
  const env = { ...process.env, ...config.environment };
  const { stdout, stderr } = spawnSync('pkcs11-tool', ['--module', config.module, '--list-slots'], { env });
  return `${stdout}${stderr}`;
};

const { id: ID, label: LABEL } = { id: ATTRIBUTES.id.type, label: ATTRIBUTES.label.type };
const SENSITIVE = ATTRIBUTES.sensitive.type;
const VALUE_LEN: Template = [[CKA.VALUE_LEN, 32]];
const isSensitive = async (key: bigint): Promise<boolean> =>
  (await application.attributes(key, [SENSITIVE])).get(SENSITIVE)![0] === 1;

describe('a token behind the module that lies on order', () => {
  it('works without orders as it does without the module', async () => {
    const key = await makeAes(application, ...label('honest'), ...flags({ encrypt: true, decrypt: true }));
    const data = Buffer.alloc(16, 7);
    const sealed = await application.encrypt(mechanism(CKM.AES_ECB), key, data);
    expect(Buffer.from(await application.decrypt(mechanism(CKM.AES_ECB), key, sealed))).toEqual(data);
    expect(await isSensitive(key)).toBe(true);
    expect(token.calls('C_GenerateKey')).toBe(1);
    expect(token.honest.tool('--list-objects')).toContain('honest');
  });

  it('refuses a chosen call for a chosen object, so many times', async () => {
    await makeAes(application, ...label('good'));
    token.tell({
      lie: 'refuse',
      code: 'CKR_GENERAL_ERROR',
      function: 'C_GenerateKey',
      label: 'bad',
      after: 1,
      times: 2,
    });
    const make = (name: string): Promise<string> => refusalOf(makeAes(application, ...label(name)));
    expect([await make('good'), await make('bad'), await make('good'), await make('bad'), await make('bad')]).toEqual([
      'CKR_OK',
      'CKR_OK',
      'CKR_OK',
      'CKR_GENERAL_ERROR',
      'CKR_GENERAL_ERROR',
    ]);
    expect(await make('bad')).toBe('CKR_OK');
  });

  it('counts over all processes', async () => {
    token.tell({ lie: 'refuse', code: 'CKR_DEVICE_ERROR', function: 'C_FindObjectsInit', times: 1 });
    expect(await refusalOf(application.find([]))).toBe('CKR_DEVICE_ERROR');
    const another = await openRawToken(token);
    expect(await refusalOf(another.find([]))).toBe('CKR_OK');
    await another.close();
    expect(token.calls('C_FindObjectsInit')).toBe(2);
  });

  it('refuses the use of one key in a call that does not name it', async () => {
    const key = await makeAes(application, ...label('cannot encrypt'), ...flags({ encrypt: true }));
    const another = await makeAes(application, ...label('can encrypt'), ...flags({ encrypt: true }));
    token.tell({ lie: 'refuse', code: 0x80000101, function: 'C_Encrypt', label: 'cannot encrypt' });
    const use = (handle: bigint): Promise<string> =>
      refusalOf(application.encrypt(mechanism(CKM.AES_ECB), handle, Buffer.alloc(16)));
    expect([await use(another), await use(key)]).toEqual(['CKR_OK', 'CKR_0x80000101']);
  });

  it('refuses plaintext import of keys and nothing else', async () => {
    token.tell({
      lie: 'refuse',
      code: 'CKR_TEMPLATE_INCONSISTENT',
      function: 'C_CreateObject',
      class: CKO.SECRET_KEY,
    });
    expect(await refusalOf(application.create(secretOf(Buffer.alloc(32))))).toBe('CKR_TEMPLATE_INCONSISTENT');
    expect(await refusalOf(application.create([[CKA.CLASS, CKO.DATA], ...label('data')]))).toBe('CKR_OK');
  });

  it('ignores, forces and refuses attributes of a template', async () => {
    token.tell({ lie: 'ignore', function: 'C_GenerateKey', attribute: 'label', times: 1 });
    await makeAes(application, ...label('ignored'));
    expect(await application.find(label('ignored'))).toEqual([]);
    token.tell({ lie: 'force', function: 'C_GenerateKey', attribute: 'sensitive', value: FALSE, label: 'forced' });
    expect(await isSensitive(await makeAes(application, ...label('forced')))).toBe(false);
    expect(await isSensitive(await makeAes(application, ...label('not forced')))).toBe(true);
    token.tell({ lie: 'read-only', function: 'C_GenerateKey', attribute: 'extractable' });
    expect(await refusalOf(makeAes(application))).toBe('CKR_ATTRIBUTE_READ_ONLY');
    const bare = application.generateKey(mechanism(CKM.AES_KEY_GEN), VALUE_LEN);
    expect(await refusalOf(bare)).toBe('CKR_OK');
  });

  it('hides and invents attributes', async () => {
    const key = await makeAes(application, ...label('shown'));
    const read = async () => {
      const found = await application.attributes(key, [LABEL, ID]);
      return [found.get(LABEL), found.get(ID)].map((one) => one && Buffer.from(one).toString());
    };
    token.tell({ lie: 'answer', attribute: 'id', value: Buffer.from('invented'), label: 'shown' });
    expect(await read()).toEqual(['shown', 'invented']);
    token.tell({ lie: 'hide', attribute: 'label', code: 'CKR_ATTRIBUTE_SENSITIVE' });
    expect(await read()).toEqual([undefined, '']);
    token.tell(
      { lie: 'hide', attribute: 'label', code: 'CKR_ATTRIBUTE_TYPE_INVALID' },
      { lie: 'stop-at-first-missing' },
    );
    expect((await application.attributes(key, [ID, LABEL, CKA.CLASS])).size).toBeLessThan(3);
  });

  it('does what it was asked and fails all the same', async () => {
    token.tell({ lie: 'fail-afterwards', code: 'CKR_FUNCTION_FAILED', function: 'C_GenerateKey' });
    expect(await refusalOf(makeAes(application, ...label('made all the same')))).toBe('CKR_FUNCTION_FAILED');
    expect(await application.find(label('made all the same'))).toHaveLength(1);
  });

  it('makes a call as slow as ordered', async () => {
    token.tell({ lie: 'delay', ms: 150, function: 'C_FindObjectsInit' });
    const before = performance.now();
    await application.find([]);
    expect(performance.now() - before).toBeGreaterThanOrEqual(150);
  });

  it('uses a handle again once its object is gone', async () => {
    token.tell({ lie: 'reuse-handles' });
    const reusing = await openRawToken(token);
    const first = await makeAes(reusing, ...label('first'));
    await reusing.destroy(first);
    expect(await makeAes(reusing, ...label('second'))).toBe(first);
    expect(await reusing.find(label('second'))).toEqual([first]);
    await reusing.close();
  });

  it('shows one more slot, whose calls it refuses', async () => {
    token.tell({ lie: 'extra-slot', code: 'CKR_DEVICE_ERROR' });
    const slots = slotsOf(token);
    expect(slots).toContain(`(0x${EXTRA_SLOT.toString(16)})`);
    expect(slots).toContain('CKR_DEVICE_ERROR');
    expect(slots).toMatch(/token label +: lying/);
    token.tell();
    expect(slotsOf(token)).not.toContain('CKR_DEVICE_ERROR');
  });
});
