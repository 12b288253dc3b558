/** Compiles and runs floor.c: the bare PKCS#11 calls, beside which everything is measured. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CKA } from '@antipode/cryptoki';
import type { ObjectClass } from '@antipode/hsm-core/testing';
import { ATTRIBUTES, type AttributeName, attributesOf, classNumber } from '@antipode/hsm-core/testing';
import { SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';
import type { Workspace } from '../places/workspace.ts';

export interface FloorInventory {
  readonly objects: number;
  readonly passes: readonly { readonly findMs: number; readonly readMs: number }[];
  readonly wrapUs: number;
}

export interface FloorSource {
  readonly objects: number;
  readonly findMs: number;
  readonly readMs: number;
  readonly wrapMs: number;
  readonly totalMs: number;
}

export interface FloorTarget {
  readonly objects: number;
  readonly unwrapMs: number;
  readonly createMs: number;
  readonly useMs: number;
  readonly totalMs: number;
}

const COMPILERS = ['cc', 'gcc'];
const SOURCE = fileURLToPath(new URL('./floor.c', import.meta.url));
const CLASSES: readonly ObjectClass[] = ['data', 'certificate', 'public-key', 'private-key', 'secret-key'];

/**
 * The attributes that the provider reads beyond the table to describe a key (reading/object-reader.ts), and those of its
 * class and type. Dates are left out: SoftHSM refuses to read one that is set on a private object, and then refuses the
 * whole call.
 */
const BEYOND: Partial<Record<ObjectClass, readonly number[]>> = {
  'secret-key': [CKA.VALUE_LEN],
  'private-key': [CKA.MODULUS, CKA.PUBLIC_EXPONENT, CKA.EC_PARAMS, CKA.EC_POINT],
};
const DATES: readonly AttributeName[] = ['startDate', 'endDate'];

export class Floor {
  readonly #workspace: Workspace;
  readonly #program: string;
  readonly #plan: string;

  private constructor(options: { workspace: Workspace; program: string; plan: string }) {
    this.#workspace = options.workspace;
    this.#program = options.program;
    this.#plan = options.plan;
  }

  /** Undefined where this machine has no C compiler that works. */
  static async compile(workspace: Workspace): Promise<Floor | undefined> {
    const folder = workspace.folder('floor');
    const [program, plan] = [join(folder, 'floor'), join(folder, 'plan')];
    writeFileSync(plan, planOf());
    for (const compiler of COMPILERS) {
      const isCompiled = await workspace
        .run(compiler, ['-O2', '-std=gnu11', '-Wall', '-o', program, SOURCE, '-ldl'])
        .then(() => true)
        .catch((thrown: { code?: unknown; stderr?: string }) => {
          if (thrown.code !== 'ENOENT') console.error(`${compiler} does not compile the floor: ${thrown.stderr ?? ''}`);
          return false;
        });
      if (isCompiled) return new Floor({ workspace, program, plan });
    }
    return undefined;
  }

  inventory(token: TestToken, { passes, wraps }: { passes: number; wraps: number }): Promise<FloorInventory> {
    return this.#run(token, 'inventory', String(passes), String(wraps));
  }

  /** Source and target, as two processes with the blobs in a file between them. */
  async replicate(source: TestToken, target: TestToken): Promise<{ source: FloorSource; target: FloorTarget }> {
    const file = join(this.#workspace.folder('blobs'), 'blobs');
    return {
      source: await this.#run(source, 'source', file),
      target: await this.#run(target, 'target', file),
    };
  }

  async #run<Answer>({ label, config, environment }: TestToken, ...args: string[]): Promise<Answer> {
    const words = [SOFTHSM_MODULE, label, config.pinFile, this.#plan, ...args];
    return JSON.parse(await this.#workspace.run(this.#program, words, environment)) as Answer;
  }
}

/** The product's own table of attributes, for the C program: see `PLAN` there. */
function planOf(): string {
  const lines = CLASSES.flatMap((objectClass) => {
    const line = (type: number, marks: string): string => `${classNumber(objectClass)} ${type.toString(16)} ${marks}`;
    const named = attributesOf(objectClass)
      .filter((name) => !DATES.includes(name))
      .map((name) => line(ATTRIBUTES[name].type, marksOf(objectClass, name)));
    const beyond = [CKA.CLASS, CKA.KEY_TYPE, ...(BEYOND[objectClass] ?? [])].map((type) => line(type, 'r'));
    return [...named, ...beyond];
  });
  return `${lines.join('\n')}\n`;
}

function marksOf(objectClass: ObjectClass, name: AttributeName): string {
  const { fate, inTemplate } = ATTRIBUTES[name];
  if (!inTemplate) return 'r';
  const isForced = objectClass !== 'public-key' && (name === 'sensitive' || name === 'extractable');
  return [
    't',
    name === 'modifiable' ? 'm' : fate === 'policy' ? 'p' : '',
    fate === 'content' ? 'c' : '',
    isForced ? '1' : '',
  ].join('');
}
