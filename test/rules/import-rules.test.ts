import { describe, expect, it } from 'vitest';
import { violationsOf } from './support/import-rules.ts';
import { sources } from './support/tree.ts';

/** The rules that a source at this path would break. */
function broken(path: string, source: string): string[] {
  return violationsOf({ path, source }).map(({ rule }) => rule);
}

describe('the import rules', () => {
  it('hold in every source', () => {
    const files = sources({ under: ['packages/', 'services/', 'apps/', 'test/'], endings: ['.ts', '.tsx', '.js'] });
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap(violationsOf)).toEqual([]);
  });

  it.each([
    ['runtime imports nothing of ours', 'packages/runtime/src/a.ts', `import { x } from '@antipode/hsm-core';`],
    ['cryptoki imports only runtime', 'packages/cryptoki/src/a.ts', `import { x } from '@antipode/hsm-core';`],
    ['hsm-core imports only runtime and cryptoki', 'packages/hsm-core/src/a.ts', `export * from '@antipode/protocol';`],
    ['protocol imports no service', 'packages/protocol/src/a.ts', `import type { A } from '@antipode/site-agent';`],
    ['services do not import each other', 'services/site-agent/src/a.ts', `await import('@antipode/coordinator');`],
    [
      'services do not import each other',
      'services/coordinator/src/a.ts',
      `type A = import('@antipode/site-agent').A;`,
    ],
    ['deep imports count', 'services/coordinator/src/a.ts', `import '@antipode/site-agent/src/x.ts';`],
    ['relative imports stay inside', 'services/coordinator/src/a.ts', `import '../../../packages/runtime/src/log.ts';`],
    ['unknown parts are refused', 'apps/cli/src/a.ts', `import '@antipode/nothing';`],
    ['koffi', 'packages/hsm-core/src/pkcs11/worker/main.ts', `import koffi from 'koffi';`],
    ['an agent calls no PKCS#11', 'services/site-agent/src/a.ts', `import { x } from '@antipode/cryptoki';`],
    ['grpc-js', 'services/site-agent/src/orders/rpc.ts', `import { Server } from '@grpc/grpc-js';`],
    ['bullmq', 'services/coordinator/src/operations/runner.ts', `import { Queue } from 'bullmq';`],
    ['ioredis', 'services/coordinator/src/store/a.ts', `import { Redis } from "ioredis";`],
    ['pg', 'services/coordinator/src/queue/a.ts', `const pg = require('pg');`],
    ['kysely', 'apps/cli/src/a.ts', `import { sql } from 'kysely';`],
    ['protocol knows no key material', 'packages/protocol/src/a.ts', `import { x } from '@antipode/hsm-core';`],
    ['a coordinator knows no key material', 'services/coordinator/src/a.ts', `import { x } from '@antipode/hsm-core';`],
    [
      'statements',
      'services/coordinator/src/a.ts',
      `const rows = store.query((db) => db.selectFrom('site').execute());`,
    ],
    ['tests reach a part through its exports', 'test/a.test.ts', `import { x } from '../packages/runtime/src/log.ts';`],
    [
      'tests of a part stay inside, too',
      'services/site-agent/src/a.test.ts',
      `import { x } from '../../coordinator/src/model.ts';`,
    ],
    ['insides are for tests', 'services/site-agent/src/a.ts', `import { x } from '@antipode/runtime/testing';`],
    ['insides are for tests', 'services/coordinator/src/a.ts', `import { x } from './testing/cluster.ts';`],
    ['insides are for tests', 'services/coordinator/src/a.ts', `import { x } from './b.test.ts';`],
    ['templates count', 'services/coordinator/src/a.ts', 'await import(`@antipode/hsm-core`);'],
    ['the target is in sight', 'services/coordinator/src/a.ts', `await import(name);`],
    [
      'the target is in sight',
      'services/coordinator/src/a.ts',
      `await import(new URL('../a.ts', import.meta.url).href);`,
    ],
    ['the target is in sight', 'services/coordinator/src/a.ts', `import.meta.resolve('@antipode/hsm-core');`],
    ['the target is in sight', 'services/coordinator/src/a.ts', `const load = createRequire(import.meta.url);`],
    ['paths are relative', 'services/coordinator/src/a.ts', `import '/opt/antipode/packages/hsm-core/src/index.ts';`],
    ['statements', 'services/coordinator/src/a.ts', `const rows = db?.selectFrom('site');`],
    ['a part without a rule', 'packages/new/src/a.ts', 'export const a = 1;'],
  ])('are broken where %s is not kept', (_rule, path, source) => {
    expect(broken(path, source)).toHaveLength(1);
  });

  it.each([
    ['packages/cryptoki/src/a.ts', `import koffi from 'koffi';`],
    ['packages/hsm-core/src/pkcs11/a.ts', `import { x } from '@antipode/cryptoki';`],
    ['packages/protocol/src/a.ts', `import { x } from '@antipode/runtime'; import { Server } from '@grpc/grpc-js';`],
    ['services/coordinator/src/store/a.ts', `import { sql } from 'kysely'; import { Pool } from 'pg';`],
    ['services/coordinator/src/store/a.ts', `import { x } from '../epochs.ts';`],
    ['apps/cli/src/a.ts', `import { x } from '@antipode/coordinator'; // import 'pg'\nconst text = "import 'pg'";`],
    ['services/coordinator/src/a.test.ts', `import { x } from '@antipode/site-agent';`],
    ['test/integration/a.int.test.ts', `import { x } from '@antipode/runtime/testing'; import '../support/a.ts';`],
  ])('let %s have what belongs there', (path, source) => {
    expect(broken(path, source)).toEqual([]);
  });
});

describe('the rules of time and chance', () => {
  it.each([
    'const now = Date.now();',
    'const now = globalThis.Date.now();',
    'const now = new Date();',
    'const chance = Math.random();',
    'setTimeout(() => {}, 5);',
    'globalThis.setInterval(work, 5);',
    'const wait = promisify(setImmediate);',
    'const text = `a${`b${Date.now()}`}c`;',
    'const now = Date?.now();',
    'const now = new Date;',
    'const now = Date();',
    'const nowMs = performance.now();',
    'const nowNs = process.hrtime.bigint();',
    'const signal = AbortSignal.timeout(5);',
    'const half = total / 2; const now = Date.now(); // /',
  ])('are broken by %s', (source) => {
    expect(broken('services/site-agent/src/a.ts', source)).toHaveLength(1);
  });

  it.each([`import { setTimeout } from 'node:timers/promises';`, `import timers from 'timers';`])(
    'are broken by %s',
    (source) => {
      expect(broken('services/site-agent/src/a.ts', source)).toContain('timers only through a Clock');
    },
  );

  it.each([
    ['services/site-agent/src/a.ts', 'clock.setTimeout(work, 5); new Date(clock.wallMs());'],
    ['services/site-agent/src/a.ts', `// Date.now()\n/* setTimeout() */ const text = 'Date.now()';`],
    ['services/site-agent/src/a.ts', 'const pattern = /"Date.now()/; const text = `Date.now()`;'],
    ['services/site-agent/src/main.ts', 'const now = Date.now();'],
    ['packages/runtime/src/time/clock.ts', 'const now = Date.now(); setTimeout(work, 5);'],
    ['services/site-agent/src/a.test.ts', 'setTimeout(work, 5);'],
    ['packages/hsm-core/src/testing/a.ts', 'setTimeout(work, 5);'],
  ])('let %s do what it must', (path, source) => {
    expect(broken(path, source)).toEqual([]);
  });
});
