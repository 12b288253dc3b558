/**
 * One seed for every property of the suite, so that a run of the tests fails or passes for its commit, and not by
 * chance. `ANTIPODE_PROPERTY_SEED` tries others. A property names none itself (test/rules/properties.test.ts).
 */
import fc from 'fast-check';

const SEED = 2026;

fc.configureGlobal({ seed: Number(process.env['ANTIPODE_PROPERTY_SEED'] ?? SEED) });
