/** Deliberate bugs in the product, and the stories that catch them. */
import { AGENT_MUTANTS } from './agent-mutants.ts';
import { COORDINATOR_MUTANTS } from './coordinator-mutants.ts';
import type { Mutant } from './mutant.ts';

export type { Mutant } from './mutant.ts';

export const MUTANTS: readonly Mutant[] = [...AGENT_MUTANTS, ...COORDINATOR_MUTANTS];
