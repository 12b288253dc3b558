/** Compiles and runs floor.c and native-floor.c: the bare PKCS#11 calls, beside which everything is measured. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CKA } from '@antipode/cryptoki';
import type { ObjectClass } from '@antipode/hsm-core/testing';
import { ATTRIBUTES, type AttributeName, attributesOf, classNumber } from '@antipode/hsm-core/testing';
import type { PairedToken } from '../../support/softhsm-pair.ts';
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

export interface NativeFloor {
  readonly takeMs: number;
  readonly placeMs: number;
}

const COMPILERS = ['cc', 'gcc'];
/** Replication by wrapping, and native cloning. */
const SOURCES = { sealed: './floor.c', native: './native-floor.c' } as const;
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
  readonly #programs: Programs;
  readonly #plan: string;

  private constructor(options: { workspace: Workspace; programs: Programs; plan: string }) {
    this.#workspace = options.workspace;
    this.#programs = options.programs;
    this.#plan = options.plan;
  }

  /** Undefined where this machine has no C compiler that works. */
  static async compile(workspace: Workspace): Promise<Floor | undefined> {
    const folder = workspace.folder('floor');
    const plan = join(folder, 'plan');
    writeFileSync(plan, planOf());
    for (const compiler of COMPILERS) {
      const [sealed, native] = [
        await compiled(workspace, compiler, 'sealed'),
        await compiled(workspace, compiler, 'native'),
      ];
      if (sealed !== undefined && native !== undefined)
        return new Floor({ workspace, programs: { sealed, native }, plan });
    }
    return undefined;
  }

  inventory(token: TestToken, { passes, wraps }: { passes: number; wraps: number }): Promise<FloorInventory> {
    return this.#run('sealed', token, 'inventory', String(passes), String(wraps));
  }

  /** Source and target, as two processes with the blobs in a file between them. */
  async replicate(source: TestToken, target: TestToken): Promise<{ source: FloorSource; target: FloorTarget }> {
    const file = join(this.#workspace.folder('blobs'), 'blobs');
    return {
      source: await this.#run('sealed', source, 'source', file),
      target: await this.#run('sealed', target, 'target', file),
    };
  }

  /** The standby has the token key of the source, and none of its objects. */
  async clone(source: PairedToken, standby: PairedToken): Promise<NativeFloor & { readonly objects: number }> {
    const file = join(this.#workspace.folder('blobs'), 'blobs');
    const taken = await this.#run<Cloned>('native', source.token, 'take', source.path, file);
    const placed = await this.#run<Cloned>('native', standby.token, 'place', standby.path, file);
    return { objects: placed.objects, takeMs: taken.ms, placeMs: placed.ms };
  }

  async #run<Answer>(
    which: keyof Programs,
    { label, config, environment }: TestToken,
    ...args: string[]
  ): Promise<Answer> {
    const words = [SOFTHSM_MODULE, label, config.pinFile, this.#plan, ...args];
    return JSON.parse(await this.#workspace.run(this.#programs[which], words, environment)) as Answer;
  }
}

type Programs = Readonly<Record<keyof typeof SOURCES, string>>;

interface Cloned {
  readonly objects: number;
  readonly ms: number;
}

/** The path of the program; undefined where this compiler is not there, or does not compile it. */
async function compiled(workspace: Workspace, compiler: string, which: keyof Programs): Promise<string | undefined> {
  const program = join(workspace.folder('program'), which);
  const source = fileURLToPath(new URL(SOURCES[which], import.meta.url));
  try {
    await workspace.run(compiler, ['-O2', '-std=gnu11', '-Wall', '-o', program, source, '-ldl']);
    return program;
  } catch (thrown) {
    const { code, stderr = '' } = thrown as { code?: unknown; stderr?: string };
    if (code !== 'ENOENT') console.error(`${compiler} does not compile the floor: ${stderr}`);
    return undefined;
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
